"""Trains a VAE on crops of pictures, and writes it as a file that ComfyUI opens."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ...checkpoints.autoencoders import load_autoencoder, save_autoencoder
from ...expert.condition import Condition
from ...networks.autoencoder import Autoencoder, LatentNorm
from ..data.kind import DataKind
from ..data.sources import Pictures
from ..kinds import KINDS, Kinds, kind_named
from ..loop.muon import Muon
from ..loop.picture_run import PictureRun
from ..loop.run_folder import run_folder
from .config import AutoencoderTrainingConfig, ObjectiveConfig, load_autoencoder_config
from .report import CHUNK, AutoencoderReport

_MEASURED = 400  # about how many pictures' latents are measured
_LAYOUT = torch.channels_last  # a third faster on a CPU
_ENDS = ("encoder.0.", "encoder.14.", "decoder.1.", "decoder.19.")  # layers that touch colours or latents


@dataclass(frozen=True)
class Crops:
    """Pictures in memory, of which every batch gets new random crops.

    Attributes:
        images: uint8, (N, 3, H, W).
        size: Side of the crops in pixels.
    """

    images: Tensor
    size: int

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """`size` crops of pictures drawn with repetition, in [−1, 1], shape (B, 3, size, size), without conditions."""
        rows = rng.integers(0, len(self.images), size).tolist()
        tops = rng.integers(0, self.images.shape[2] - self.size + 1, size).tolist()
        lefts = rng.integers(0, self.images.shape[3] - self.size + 1, size).tolist()
        crops = [
            self.images[row, :, top : top + self.size, left : left + self.size]
            for row, top, left in zip(rows, tops, lefts, strict=True)
        ]
        return torch.stack(crops).float() / 127.5 - 1, Condition()


def reconstruction_loss(output: Tensor, pictures: Tensor, weights: ObjectiveConfig) -> Tensor:
    """Weighted differences of reconstructions in their colours and in their gradients, the steps between neighbours.

    Drawings consist of flat areas and edges. Squared differences alone prefer a blurred edge to a misplaced one;
    gradients are wrong wherever an edge is blurred or a flat area isn't flat.

    Args:
        output: Reconstructions, shape (B, 3, H, W), not clipped.
        pictures: The pictures, −1…1, of the same shape.
        weights: Weights of the terms.
    """
    difference = output - pictures
    across, down = difference.diff(dim=3).abs().mean(), difference.diff(dim=2).abs().mean()
    return (
        weights.absolute * difference.abs().mean()
        + weights.squares * difference.square().mean()
        + weights.steps * (across + down)
    )


def distance_from_normal(latents: Tensor) -> Tensor:
    """Squared mean plus squared difference of the deviation from 1, averaged over the channels of (B, C, h, w).

    Without this term the encoder would scale its latents up until the noise on them no longer matters.
    """
    spread, mean = torch.std_mean(latents, dim=(0, 2, 3))
    return (mean.square() + (spread - 1).square()).mean()


class AutoencoderTrainer(PictureRun[AutoencoderTrainingConfig, Autoencoder]):
    """One run of a VAE's configuration.

    Args:
        config: The run.
        source: Its pictures.
        held_out: Name of a part of the pictures → uint8 pictures it does not train on, (N, 3, H, W).
        folder: Folder of its state and logs.
        kind: The kind of its pictures.

    Attributes:
        path: The VAE's file.
    """

    source: Crops

    def __init__(
        self,
        config: AutoencoderTrainingConfig,
        source: Crops,
        held_out: dict[str, Tensor],
        folder: Path,
        kind: DataKind,
    ):
        self.kind = kind
        self.path = folder / f"{config.name}.safetensors"
        super().__init__(config, source, AutoencoderReport(config, held_out, folder), folder)

    def make_network(self) -> Autoencoder:
        """A VAE with random weights."""
        return Autoencoder(self.config.autoencoder).to(memory_format=_LAYOUT)  # type: ignore[call-overload]

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Muon for inner weights, Adam for the others."""
        return Muon.of(self.network, _ENDS, self.config.optimizer.learning_rate)

    def start_from(self, autoencoder: Autoencoder) -> None:
        """Begin with the weights of a VAE whose norm is folded.

        Raises:
            ValueError: It has other widths, or other latents.
        """
        if autoencoder.config != self.config.autoencoder:
            raise ValueError(
                f"A VAE is trained on at its own size, {asdict(autoencoder.config)}, and [autoencoder] has "
                f"{asdict(self.config.autoencoder)}; correct it."
            )
        for network in (self.network, self.average):
            network.encoder.load_state_dict(autoencoder.encoder.state_dict())
            network.decoder.load_state_dict(autoencoder.decoder.state_dict())

    def train_step(self) -> tuple[float]:
        """One optimizer step on new crops, before which the encoder is fixed if its time is over; returns the loss."""
        pictures, _, rng = self.next_batch()
        if self.step == self._encoder_steps and not self.config.start:
            self.fix_encoder()
        loss = self._loss(pictures.contiguous(memory_format=_LAYOUT), rng)
        self.descend(loss)
        self.average.norm.load_state_dict(self.network.norm.state_dict())  # measured, so it must not be averaged
        return (loss.item(),)

    def _loss(self, pictures: Tensor, rng: np.random.Generator) -> Tensor:
        """Loss of reconstructions from noised latents, plus that of latents' statistics while the encoder learns."""
        objective, options = self.config.objective, self.config.optimizer
        learning = self.step < self._encoder_steps
        with torch.autocast("cpu", torch.bfloat16, enabled=options.autocast):
            with torch.set_grad_enabled(learning):
                latents = self.network.encode(pictures)
            noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
            output = self.network.decode(latents + objective.noise * noise)
        loss = reconstruction_loss(output, pictures, objective)
        return loss + objective.spread * distance_from_normal(latents) if learning else loss

    @torch.no_grad()
    def fix_encoder(self) -> None:
        """Continue with the averaged encoder, which is better, and with statistics of its latents in the norm.

        The latents are those of whole pictures, which show more of their backgrounds than crops do.
        """
        self.network.encoder.load_state_dict(self.average.encoder.state_dict())
        norm = LatentNorm(self.config.autoencoder.latent_channels)
        every = max(1, len(self.source) // _MEASURED)
        for pictures in self.source.images[::every].split(CHUNK):
            norm.measure(self.network.features(pictures.float() / 127.5 - 1))
        self.network.norm.load_state_dict(norm.state_dict())

    @property
    def _encoder_steps(self) -> int:
        """Number of steps in which the encoder learns; 0 where the run started from a VAE."""
        return 0 if self.config.start else round(self.config.objective.encoder_until * self.config.optimizer.steps)

    def save(self) -> None:
        """Write the run's state, and the averaged weights, so that experts can already train on their latents."""
        super().save()
        save_autoencoder(self.path, self.average, describe(self))


def train_autoencoder(
    config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False, kinds: Kinds = KINDS
) -> Path:
    """Train the configured VAE and write its averaged weights.

    Args:
        config_path: The TOML file.
        runs: Folder that gets a subfolder named after the run.
        resume: None to begin; "state" to continue where the run stopped, or to begin where there is no state.
        overwrite: Whether a new run may replace files of an earlier one of its name.
        kinds: The kinds of data that it may be trained on.

    Returns:
        The VAE's file.

    Raises:
        ValueError: The configuration is wrong, a saved state exists and `resume` was not given, `resume` names a
            file, or the VAE to start from has another size or is no VAE.
        FileNotFoundError: There is no VAE to start from.
    """
    config = load_autoencoder_config(config_path)
    kind = kind_named(config.data.kind, kinds)
    kind.check_pictures(config.data)
    if resume not in (None, "state"):
        raise ValueError(f"A VAE goes on from its own state only and not from {resume}; use --resume without a file.")
    with run_folder(runs, config.name, resume, overwrite) as run:
        cache = runs / "data"
        pictures = kind.prepare_pictures(config.data, config.image_size, config.report.held_out, config_path.parent)
        images = torch.cat([*_in_memory(pictures.training.parts, cache).values()])
        held_out = _in_memory(pictures.held_out.parts, cache)
        trainer = AutoencoderTrainer(config, Crops(images, config.objective.crop), held_out, run.path, kind)
        trainer.content = pictures.content
        if run.resumed:
            trainer.resume()
        elif config.start:
            trainer.start_from(load_autoencoder(config_path.parent / config.start))
        trainer.run(save_every=100)  # steps take a second or more
    return trainer.path


def _in_memory(sets: Mapping[str, Pictures], cache: Path) -> dict[str, Tensor]:
    """Name → uint8 pictures of each part, (N, 3, H, W)."""
    return {
        name: rearrange(torch.from_numpy(pictures.load(cache)), "n h w c -> n c h w").contiguous()
        for name, pictures in sets.items()
    }


def describe(trainer: AutoencoderTrainer) -> dict:
    """The card of the VAE's file: how it was trained."""
    config = trainer.config
    return {
        **config.card,
        "steps": trainer.step,
        "seed": config.optimizer.seed,
        "image_size": config.image_size,
        "objective": asdict(config.objective),
        "data": trainer.kind.describe(config.data, len(trainer.source)),
    }
