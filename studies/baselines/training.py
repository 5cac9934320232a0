"""Adversarial training of the baseline, on the same batches as experts and resumable like them."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from mcdm_core.training.data.sources import Source
from mcdm_core.training.loop.picture_run import PictureRun
from mcdm_core.training.loop.run_folder import run_folder

from ..training.faces import draw_faces
from ..training.sets import held_out_of
from .adversaries import LOSSES, Adversaries
from .config import GanTrainingConfig, load_gan_config
from .files import save_gan
from .held_out import GanReport

_BETAS = (0.0, 0.9)  # SPADE's


class GanTrainer(PictureRun[GanTrainingConfig, Adversaries]):
    """One run of a GAN's configuration; each step updates both networks.

    Args:
        config: The run.
        source: Its batches.
        held_out: Pictures it does not train on.
        folder: Folder of its state and logs.
    """

    columns = LOSSES

    def __init__(self, config: GanTrainingConfig, source: Source, held_out: Source, folder: Path):
        super().__init__(config, source, GanReport(config, held_out, folder), folder)

    def make_network(self) -> Adversaries:
        """Generator and discriminator with random weights."""
        return Adversaries(self.config.gan)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW for both; the discriminator at a rate of its own."""
        groups = [
            {"params": list(self.network.generator.parameters()), "scale": 1.0},
            {"params": list(self.network.discriminator.parameters()), "scale": self.config.gan.discriminator_rate},
        ]
        return torch.optim.AdamW(groups, lr=self.config.optimizer.learning_rate, betas=_BETAS, weight_decay=0.0)

    def train_step(self) -> tuple[float, ...]:
        """One step of both networks; returns the losses of `LOSSES`, the generator's including the matching."""
        options = self.config.optimizer
        x0, condition, rng = self.next_batch()
        assert condition.maps is not None
        noise = rng.standard_normal((len(x0), self.config.gan.generator.noise_dim), dtype=np.float32)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.autocast):
            adversarial, matching, discriminator = self.network.losses(x0, condition.maps, torch.from_numpy(noise))
        generator = adversarial + self.config.gan.matching * matching
        self.descend(generator + discriminator, max_norm=None)
        return tuple(loss.item() for loss in (generator, matching, discriminator))


def train_gan(config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False) -> Path:
    """Train the configured GAN and write its generator with averaged weights.

    Args:
        config_path: The TOML file.
        runs: Folder that gets a subfolder named after the run.
        resume: None to begin; "state" to continue where the run stopped, or to begin where there is no state.
        overwrite: Whether a new run may replace files of an earlier one of its name.

    Returns:
        The generator's file.

    Raises:
        ValueError: The configuration is wrong, a saved state exists and `resume` was not given, or `resume` names a
            file.
    """
    config = load_gan_config(config_path)
    if resume not in (None, "state"):
        raise ValueError(f"A GAN goes on from its own state only and not from {resume}; use --resume without a file.")
    with run_folder(runs, config.name, resume, overwrite) as run:
        cache, held_out = runs / "data", held_out_of(config.data, config.report.held_out)
        trainer = GanTrainer(config, draw_faces(config.data, cache), draw_faces(held_out, cache), run.path)
        if run.resumed:
            trainer.resume()
        trainer.run()
        data = {n: asdict(config.data)[n] for n in ("modalities", "trained", "seed", "count", "leading", "sets")}
        card = {**config.card, "steps": trainer.step, "seed": config.optimizer.seed, "data": data}
        save_gan(run.written, trainer.average.generator, card)
    return run.written
