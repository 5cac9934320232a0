"""Evaluations of small experts, with readers of random weights."""

import torch
from safetensors.torch import save_file

from mcdm_core.checkpoints.autoencoders import encoder_key, load_autoencoder
from mcdm_core.networks.image_encoder import ImageEncoder
from studies.evaluation.reader import WIDTH, Reader

from .small_experts import write_expert, write_vae

_SHAPE = {"channel_mult": (1,), "attention_downsamplings": (), "patch": 8}


class InProcess:
    """Stands in for the process pool, since coverage doesn't see code that runs in a child process."""

    def __init__(self, *arguments, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def map(self, function, jobs):
        return map(function, jobs)


def write_small(folder, name, condition, reads, tower=None, schedule="cosine", size=64):
    """An expert as small as one of 64 pixels can be; `reads` are the network's settings for its condition."""
    folder.mkdir(exist_ok=True)
    write_expert(folder / f"{name}.safetensors", condition, size, tower, _SHAPE | reads, schedule)


def write_small_maps(folder, *names):
    """An expert of each map; returns their files by name."""
    for name in names:
        write_small(folder, name, {"kind": "map", "map": name}, {"map_channels": 1})
    return {name: folder / f"{name}.safetensors" for name in names}


def write_small_vae(folder):
    """A narrow VAE of random weights in the folder; returns its key."""
    folder.mkdir(exist_ok=True)
    return encoder_key(load_autoencoder(write_vae(folder / "vae.safetensors")))


def write_small_latent(folder, name, condition, reads, vae, tower=None, schedule="cosine"):
    """An expert on the latents of pictures of 256 pixels."""
    shape = _SHAPE | {"in_channels": 4, "out_channels": 4} | reads
    write_expert(folder / f"{name}.safetensors", condition, 256, tower, shape, schedule, vae)


def write_small_text(folder, name, tower, schedule="cosine"):
    condition = {"kind": "text", "text_encoder": tower.config.to_dict()}
    write_small(folder, name, condition, {"pooled_dim": tower.config.dim}, tower, schedule)


def biased_reader(path, classes, answer):
    """The function of a reader of random weights, which gives the same answer for every picture."""
    network = ImageEncoder(len(classes), WIDTH)
    with torch.no_grad():
        network.head[-1].bias[list(classes).index(answer)] += 100
    save_file({key: value.half() for key, value in network.state_dict().items()}, path)
    return lambda images: Reader(path, {"class": classes}).read(images)["class"]


def images_of(samples):
    """Samples in −1…1 as the images that are drawn of them, uint8, shape (B, H, W, 3)."""
    return ((samples + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def write_evaluation(path, data, experts, settings, top=""):
    """Write a configuration; each section is a few lines of TOML, and each setting one line with its terms, by name."""
    lines = [f'title = "A test"\n{top}\n[data]\n{data}\n[sampling]\nsteps = 1\n[experts]']
    lines += [f'{name} = "experts/{name}.safetensors"' for name in experts]
    lines += [f'[[settings]]\nname = "{name}"\n{content}' for name, content in settings.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
