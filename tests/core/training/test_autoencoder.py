"""Training of VAEs."""

import csv
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mcdm_core.autoencoders import encoder_key, load_autoencoder
from mcdm_core.training import main
from mcdm_core.training.autoencoder import (
    AutoencoderTrainer,
    Crops,
    distance_from_normal,
    reconstruction_loss,
    train_autoencoder,
)
from mcdm_core.training.autoencoder_config import ObjectiveConfig, load_autoencoder_config

CONFIG = """
name = "vae"
image_size = 32
[autoencoder]
widths = [4, 4, 6, 8]
[data]
kind = "mixture"
[data.sets.faces]
seed = 11
count = 3
[data.sets.animals]
seed = 31
count = 2
[data.sets.landscapes]
seed = 51
count = 2
[objective]
crop = 16
encoder_until = 0.5
[optimizer]
steps = 6
batch_size = 2
warmup = 2
autocast = false
[report]
every = 2
held_out_every = 3
held_out = 2
samples = 1
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "vae.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def images():
    """Two flat pictures with a box in each, uint8, (2, 3, 32, 32)."""
    pictures = torch.full((2, 3, 32, 32), 40, dtype=torch.uint8)
    pictures[0, 0, 4:20, 8:30] = 220
    pictures[1, 1:, 10:28, 2:16] = 180
    return pictures


class Interrupting:
    """A source that is interrupted while it makes a batch."""

    def __init__(self, source, at):
        self.source, self.at, self.images = source, at, source.images

    def __len__(self):
        return len(self.source)

    def batch(self, modality, size, rng):
        self.at -= 1
        if self.at == 0:
            signal.raise_signal(signal.SIGINT)
        return self.source.batch(modality, size, rng)


def rows(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_the_command_trains_and_writes_a_vae(config, tmp_path):
    assert main([str(config), "--runs", str(tmp_path), "--threads", "1"]) == 0
    folder = tmp_path / "vae"
    assert load_autoencoder(folder / "vae.safetensors").config.widths == (4, 4, 6, 8)
    assert [row["step"] for row in rows(folder / "loss.csv")] == ["2", "4", "6"]
    held_out = rows(folder / "held_out.csv")
    kinds = ("faces", "animals", "landscapes")
    assert [(row["step"], row["kind"]) for row in held_out] == [(step, kind) for step in "36" for kind in kinds]
    assert all(0 < float(row["psnr"]) < 60 for row in held_out)
    assert (folder / "samples_000006.png").exists()


def test_an_interrupted_run_equals_an_uninterrupted_one(config, images, tmp_path):
    settings = load_autoencoder_config(config)

    def trainer(folder, at=0):
        source = Interrupting(Crops(images, 16), at)
        return AutoencoderTrainer(settings, source, {"boxes": images}, tmp_path / folder)

    whole = trainer("whole")
    whole.run()
    interrupted = trainer("resumed", 3)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    resumed = trainer("resumed")
    resumed.resume()
    assert resumed.step == 3
    resumed.run()
    for name in ("network", "average"):
        expected, actual = (getattr(run, name).state_dict() for run in (whole, resumed))
        assert all(torch.equal(expected[key], actual[key]) for key in expected)


def test_the_latents_are_measured_when_the_encoder_is_fixed_and_final_then(config, images, tmp_path):
    trainer = AutoencoderTrainer(load_autoencoder_config(config), Crops(images, 16), {"boxes": images}, tmp_path)
    measured, keys = [], []
    for _ in range(6):
        trainer.train_step()
        measured.append(trainer.network.norm.mean.clone())
        assert torch.equal(trainer.average.norm.mean, measured[-1])
        trainer.save()
        keys.append(encoder_key(load_autoencoder(trainer.path)))
    changes = [not torch.equal(one, other) for one, other in pairwise(measured)]
    assert changes == [False, False, True, False, False]  # the encoder learns for three steps
    assert [one != other for one, other in pairwise(keys)] == [True, True, True, False, False]
    spread, mean = torch.std_mean(trainer.average.encode(images.float() / 127.5 - 1), dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(4), rtol=0, atol=1e-3)  # of whole pictures
    torch.testing.assert_close(spread, torch.ones(4), rtol=0, atol=1e-2)
    for one, other in zip(trainer.network.encoder.parameters(), trainer.average.encoder.parameters(), strict=True):
        assert torch.equal(one, other)
    decoders = zip(trainer.network.decoder.parameters(), trainer.average.decoder.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in decoders)


def test_a_short_training_learns_to_reconstruct(config, images, tmp_path):
    text = CONFIG.replace("steps = 6", "steps = 150\nema = 0.9\nlearning_rate = 3e-3")
    config.write_text(
        text.replace("every = 2", "every = 10").replace("held_out_every = 3", "held_out_every = 0"), "utf-8"
    )
    trainer = AutoencoderTrainer(load_autoencoder_config(config), Crops(images, 16), {"boxes": images}, tmp_path)
    trainer.run()
    losses = [float(row["loss"]) for row in rows(tmp_path / "loss.csv")]
    assert losses[-1] < 0.4 * losses[0]


def test_the_loss_is_of_colours_and_of_steps_between_neighbours():
    pictures = torch.zeros(1, 3, 2, 2)
    shifted = pictures + 0.5
    stepped = pictures.clone()
    stepped[..., 0] = 1
    weights = {
        name: ObjectiveConfig(absolute=a, squares=b, steps=c)
        for name, a, b, c in (("absolute", 1, 0, 0), ("squares", 0, 1, 0), ("steps", 0, 0, 1))
    }
    assert reconstruction_loss(shifted, pictures, weights["absolute"]) == 0.5
    assert reconstruction_loss(shifted, pictures, weights["squares"]) == 0.25
    assert reconstruction_loss(shifted, pictures, weights["steps"]) == 0
    assert reconstruction_loss(stepped, pictures, weights["absolute"]) == 0.5
    assert reconstruction_loss(stepped, pictures, weights["steps"]) == 1


def test_latents_are_kept_at_mean_zero_and_deviation_one():
    latents = torch.randn(8, 2, 32, 32)
    assert distance_from_normal(latents) < 0.001
    off = latents * torch.tensor([1.0, 3.0]).view(1, 2, 1, 1) + torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    assert distance_from_normal(off) == pytest.approx((2**2 + 2**2) / 2, rel=0.05)


def test_crops_are_parts_of_the_pictures(images):
    crops, _ = Crops(images, 8).batch(None, 5, np.random.default_rng(0))
    assert crops.shape == (5, 3, 8, 8)
    windows = (
        (images.float() / 127.5 - 1).unfold(2, 8, 1).unfold(3, 8, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 8, 8)
    )
    assert all((windows == crop).flatten(1).all(dim=1).any() for crop in crops)


def test_runs_are_not_begun_twice_nor_from_a_file(config, tmp_path):
    written = train_autoencoder(config, tmp_path)
    with pytest.raises(ValueError, match="holds an earlier run; add --resume"):
        train_autoencoder(config, tmp_path)
    with pytest.raises(ValueError, match="from its own state only"):
        train_autoencoder(config, tmp_path, str(written))
    assert train_autoencoder(config, tmp_path, "state") == written


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop = 16", "crop = 12", "image_size = 32 and crop = 12; change them"),
        ("crop = 16", "crop = 40", "the crop to no more than the picture"),
        ('kind = "mixture"', 'kind = "faces"', "Expected .* of kind 'mixture' .* and got 'faces' with sets"),
        ("[data.sets.animals]", "[data.sets.cars]", r"with sets of \['cars', 'faces', 'landscapes'\]; correct"),
        ('kind = "mixture"', 'kind = "mixture"\nmodalities = ["hair"]', "no conditions in common"),
        ("seed = 31", "seeds = 31", r"\[data.sets.animals\] has unknown names \['seeds'\]"),
        ("seed = 31", 'seed = "31"', r"\[data.sets.animals\]: expected a whole number for seed"),
        ("crop = 16", "crops = 16", r"\[objective\] of vae.toml has unknown names"),
        ("encoder_until = 0.5", "encoder_until = 1.0", "set it between 0 and 1"),
        ("widths = [4, 4, 6, 8]", "widths = [4]", "4 levels"),
    ],
)
def test_wrong_configurations_are_refused(config, old, new, message):
    config.write_text(CONFIG.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_autoencoder_config(config)


def test_the_shipped_configuration_can_be_read():
    config = load_autoencoder_config(Path(__file__).resolve().parents[3] / "configs" / "vae.toml")
    assert config.image_size == 256
