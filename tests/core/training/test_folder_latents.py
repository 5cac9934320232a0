"""One's own folder as data of a VAE, and of networks that make its latents."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core import UNet, load_expert, prediction_named
from mcdm_core.checkpoints.autoencoders import encoder_key, load_autoencoder
from mcdm_core.cli.main import main
from mcdm_core.pictures import load_picture
from mcdm_core.training.config import DataConfig, ReportConfig, TrainingConfig, load_config
from mcdm_core.training.data.latents import LatentSpace
from mcdm_core.training.data.sources import PictureSet
from mcdm_core.training.dual_encoder import alignment
from mcdm_core.training.dual_encoder.towers import embed_images, load_dual_encoder
from mcdm_core.training.expert.held_out import HeldOutReport
from mcdm_core.training.expert.objective import Objective, trained_schedule
from mcdm_core.training.expert.run import train_expert
from mcdm_core.training.folder.kind import FolderKind
from mcdm_core.training.folder.reading import split_stems

from ...support import small_experts
from ...support.tiny_runs import LATENT_NETWORK, write_folder

NETWORK = f"""
name = "mine"
{LATENT_NETWORK}{{network}}
[data]
kind = "folder"
path = "pictures"
{{data}}
[optimizer]
steps = 2
batch_size = 3
autocast = false
[report]
held_out_every = 2
samples = 1
sample_steps = 2
"""
VAE = """
name = "vae"
image_size = 32
[autoencoder]
widths = [4, 4, 6, 8]
[data]
kind = "folder"
path = "pictures"
[objective]
crop = 16
[optimizer]
steps = 4
batch_size = 2
autocast = false
[report]
held_out_every = 4
samples = 1
"""


@pytest.fixture(autouse=True)
def folder(tmp_path):
    small_experts.write_vae(tmp_path / "vae.safetensors")
    return write_folder(tmp_path / "pictures", size=(48, 48), captions=True)


def configure(tmp_path, network="", data=""):
    path = tmp_path / "mine.toml"
    path.write_text(NETWORK.format(network=network, data=data), encoding="utf-8")
    return path


def test_a_vae_is_trained_and_then_a_network_of_its_latents(tmp_path):
    (tmp_path / "vae.toml").write_text(VAE, encoding="utf-8")
    assert main(["train", str(tmp_path / "vae.toml"), "--runs", str(tmp_path / "runs")]) == 0
    vae = tmp_path / "runs" / "vae" / "vae.safetensors"
    config = configure(tmp_path)
    config.write_text(config.read_text("utf-8").replace('"vae.saf', '"runs/vae/vae.saf'), encoding="utf-8")
    assert main(["train", str(config), "--runs", str(tmp_path / "runs")]) == 0
    expert = load_expert(tmp_path / "runs" / "mine" / "mine.safetensors", vae=vae)
    assert expert.metadata["vae"] == encoder_key(load_autoencoder(vae))
    assert expert.metadata["card"]["data"] == "5 pictures of the folder 'pictures'"
    assert expert.decode(torch.zeros(1, *expert.sample_shape)).shape == (1, 3, 32, 32)
    assert (tmp_path / "runs" / "mine" / "samples_000002.png").exists()


@pytest.mark.parametrize(
    ("network", "modalities"),
    [("map_channels = 128", ["hair", "skin"]), ("map_channels = 64", ["sketch"])],
)
def test_maps_and_edges_are_what_the_experts_encoder_makes_of_the_files(tmp_path, folder, network, modalities):
    config = configure(tmp_path, network, f"modalities = {modalities}")
    expert = load_expert(train_expert(config, tmp_path / "runs"))
    prepared = FolderKind().prepare_latents(load_config(config), tmp_path, tmp_path, None).training
    stems, _ = split_stems([f"face_{i}" for i in range(6)], 1)
    for row, stem in enumerate(stems):
        for modality in modalities:
            told = prepared.conditions(modality, np.array([row]), np.random.default_rng(0))
            if modality == "sketch":
                expected = expert.encoder.encode_sketch(load_picture(folder / "images" / f"{stem}.png"))
            else:
                expected = expert.encoder.encode_map(load_picture(folder / modality / f"{stem}.png"), modality)
            torch.testing.assert_close(told.maps, expected.maps, atol=0.51 / 255, rtol=0)
            assert told.maps.any()


def test_captions_are_embedded_at_the_size_that_their_encoder_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "align", partial(alignment.align, batches=2, steps=2, size=4))
    encoder = tmp_path / "encoder.toml"
    lines = 'name = "encoder"\npath = "pictures"\nimage_size = 16\nsteps = 2\nbatch_size = 3\n'
    encoder.write_text(f"[dual_encoder]\n{lines}", encoding="utf-8")
    assert main(["train", str(encoder), "--runs", str(tmp_path / "runs")]) == 0
    file = "runs/encoder/encoder.safetensors"
    config = configure(tmp_path, "pooled_dim = 128", f'modalities = ["text"]\ntext_encoder = "{file}"')
    expert = load_expert(train_expert(config, tmp_path / "runs"))
    assert expert.encoder.encode_text(["a crimson box"]).embedding.shape == (1, 128)
    prepared = FolderKind().prepare_latents(load_config(config), tmp_path, tmp_path, None).training
    (pictures,) = prepared.parts.values()
    images = torch.from_numpy(pictures.images).permute(0, 3, 1, 2)
    towers = load_dual_encoder(tmp_path / file)
    assert towers.image_size == 16
    halves = torch.nn.functional.avg_pool2d(images.float(), 2).round().byte()
    torch.testing.assert_close(prepared.conditions.embeddings, embed_images(towers.image, halves))


def test_a_changed_picture_is_encoded_anew(tmp_path, folder):
    config = load_config(configure(tmp_path))
    space = LatentSpace(tmp_path / "vae.safetensors")

    def latents():
        pictures = FolderKind().prepare_latents(config, tmp_path, tmp_path, None).training
        return space.source(pictures.parts.values(), tmp_path / "data").images

    first = latents()
    assert torch.equal(latents(), first)
    assert len(list((tmp_path / "data").iterdir())) == 1
    for path in (folder / "images").iterdir():
        Image.new("RGB", (48, 48), "red").save(path)
    assert not torch.equal(latents(), first)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('modalities = ["hair"]', "need 64 map channels and"),
        ('modalities = ["class"]', 'no "class"'),
        ("[data.sets.hair]\nseed = 1", r"remove \[data.sets\]"),
    ],
)
def test_wrong_configurations_are_refused(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        train_expert(configure(tmp_path, data=data), tmp_path / "runs")


REPORT = ReportConfig(held_out=2, samples=2, sample_steps=2)


def test_latents_are_sampled_without_a_clamp(tmp_path):
    network = UNet(small_experts.LATENT_NETWORK)
    torch.nn.init.zeros_(network.out[-1].weight)
    torch.nn.init.constant_(network.out[-1].bias, -3.0)  # v everywhere, so that x0 is about 3 where there is noise only
    settings = TrainingConfig("start", small_experts.LATENT_NETWORK, DataConfig("folder"), report=REPORT, image_size=32)
    objective = Objective(trained_schedule("cosine"), prediction_named("v"))
    source, decoded = PictureSet(torch.randn(4, 4, 4, 4).half()), []

    def decode(latents):
        decoded.append(latents)
        return torch.zeros(len(latents), 3, 32, 32)

    HeldOutReport(settings, source, objective, tmp_path, decode).write(network, 1)
    samples, x0 = decoded
    assert samples.shape == x0.shape
    assert samples.abs().max() > 1.5
