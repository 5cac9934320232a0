"""Training of VAEs, and the PSNR of what they reconstruct."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from mcdm_core.checkpoints.autoencoders import encoder_key, load_autoencoder
from mcdm_core.networks.autoencoder import AutoencoderConfig
from mcdm_core.training.autoencoder.config import AutoencoderTrainingConfig, ObjectiveConfig
from mcdm_core.training.autoencoder.report import peak_signal_to_noise
from mcdm_core.training.autoencoder.run import AutoencoderTrainer, Crops, distance_from_normal, reconstruction_loss
from mcdm_core.training.config import DataConfig, OptimizerConfig, ReportConfig
from mcdm_core.training.folder.kind import FolderKind

from ...support.tiny_runs import Interrupting, assert_goes_on_as_if_uninterrupted, csv_rows

SETTINGS = AutoencoderTrainingConfig(
    "vae",
    AutoencoderConfig((4, 4, 6, 8)),
    DataConfig("folder", path="boxes"),
    ObjectiveConfig(crop=16, encoder_until=0.5),
    OptimizerConfig(steps=6, batch_size=2, warmup=2, autocast=False),
    ReportConfig(every=2, held_out_every=3, held_out=2, samples=1),
    image_size=32,
)


@pytest.fixture
def images():
    """Two flat pictures with a box in each, uint8, (2, 3, 32, 32)."""
    pictures = torch.full((2, 3, 32, 32), 40, dtype=torch.uint8)
    pictures[0, 0, 4:20, 8:30] = 220
    pictures[1, 1:, 10:28, 2:16] = 180
    return pictures


def test_an_interrupted_run_equals_an_uninterrupted_one(images, tmp_path):
    def trainer(folder, at=0):
        source = Interrupting(Crops(images, 16), at)
        return AutoencoderTrainer(SETTINGS, source, {"boxes": images}, tmp_path / folder, FolderKind())

    assert_goes_on_as_if_uninterrupted(trainer)


def test_a_run_with_more_steps_is_refused_since_its_encoder_would_learn_on(images, tmp_path):
    AutoencoderTrainer(SETTINGS, Crops(images, 16), {"boxes": images}, tmp_path, FolderKind()).save()
    longer = replace(SETTINGS, optimizer=replace(SETTINGS.optimizer, steps=SETTINGS.optimizer.steps + 2))
    with pytest.raises(ValueError, match=r"another configuration, which differs in \[optimizer\]"):
        AutoencoderTrainer(longer, Crops(images, 16), {"boxes": images}, tmp_path, FolderKind()).resume()


def test_the_latents_are_measured_when_the_encoder_is_fixed_and_final_then(images, tmp_path):
    trainer = AutoencoderTrainer(SETTINGS, Crops(images, 16), {"boxes": images}, tmp_path, FolderKind())
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


def test_a_decoder_trained_on_keeps_the_latents_of_the_vae_it_began_with(images, tmp_path):
    first = AutoencoderTrainer(SETTINGS, Crops(images, 16), {"boxes": images}, tmp_path / "first", FolderKind())
    first.run()
    begun = load_autoencoder(first.path)
    further = replace(SETTINGS, start=str(first.path))
    trainer = AutoencoderTrainer(further, Crops(images, 16), {"boxes": images}, tmp_path / "further", FolderKind())
    trainer.start_from(begun)
    torch.testing.assert_close(trainer.average.decode(torch.ones(1, 4, 2, 2)), begun.decode(torch.ones(1, 4, 2, 2)))
    trainer.run()
    written = load_autoencoder(trainer.path)
    assert encoder_key(written) == encoder_key(begun)
    pictures = images.float() / 127.5 - 1
    assert torch.equal(written.encode(pictures), begun.encode(pictures))
    assert not torch.equal(written.decode(torch.ones(1, 4, 2, 2)), begun.decode(torch.ones(1, 4, 2, 2)))
    wider = replace(further, autoencoder=AutoencoderConfig((4, 4, 6, 10)))
    with pytest.raises(ValueError, match="at its own size"):
        AutoencoderTrainer(wider, Crops(images, 16), {"boxes": images}, tmp_path, FolderKind()).start_from(begun)


@pytest.mark.long
def test_a_short_training_learns_to_reconstruct(images, tmp_path):
    optimizer = replace(SETTINGS.optimizer, steps=150, ema=0.9, learning_rate=3e-3)
    settings = replace(SETTINGS, optimizer=optimizer, report=replace(SETTINGS.report, every=10, held_out_every=0))
    trainer = AutoencoderTrainer(settings, Crops(images, 16), {"boxes": images}, tmp_path, FolderKind())
    trainer.run()
    losses = [float(row["loss"]) for row in csv_rows(tmp_path / "loss.csv")]
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


def test_a_known_difference_has_its_known_ratio():
    references = np.full((2, 4, 4, 3), 100, dtype=np.uint8)
    images = references.copy()
    images[0] += 10
    images[1, :2] -= 20
    expected = [10 * np.log10(255**2 / 100), 10 * np.log10(255**2 / 200)]
    assert peak_signal_to_noise(images, references) == pytest.approx(expected)


def test_pictures_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="reference of its size"):
        peak_signal_to_noise(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 4, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="both uint8"):
        peak_signal_to_noise(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3)))
