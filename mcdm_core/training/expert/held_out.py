"""Report of a run on held-out pictures: a loss, and samples beside their conditions."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...expert.condition import Condition
from ...expert.expert import Expert
from ...networks import UNet
from ...pictures import labelled_grid, map_to_picture, to_picture
from ...pictures.files import write_picture
from ...product.terms.term import Term
from ...sampling import sample_product
from ..config import TrainingConfig
from ..data.sources import Source, null_rows
from ..loop.logs import CsvLog
from .objective import Objective

log = logging.getLogger(__name__)

Decode = Callable[[Tensor], Tensor]
"""Samples, (B, C, h, w) → pictures in −1…1, (B, 3, H, W)."""

_STREAM = 1 << 32  # larger than any step, so that held-out noise is never that of a training step
_COLUMNS = ("condition", "sample", "held-out\npicture")


@dataclass(eq=False)
class HeldOutReport:
    """Held-out loss and samples of a run, with the same pictures, timesteps and noise each time for comparison.

    Attributes:
        config: The run.
        source: Held-out pictures.
        objective: The run's loss.
        folder: The run's folder, which gets `held_out.csv` and `samples_STEP.png`.
        decode: Decodes samples that are latents; None where samples are pictures.
    """

    config: TrainingConfig
    source: Source
    objective: Objective
    folder: Path
    decode: Decode | None = None

    def __post_init__(self) -> None:
        self.log = CsvLog(self.folder / "held_out.csv", "step", "modality", "loss")

    @torch.no_grad()
    def write(self, network: UNet, step: int) -> float:
        """Measure and sample a network after `step` steps.

        Returns:
            The loss, averaged over modalities.
        """
        losses = []
        rows: list[list[Image.Image | str]] = []
        for modality in self.config.data.modalities or (None,):
            losses.append(self._loss(network, modality))
            self.log.add(step, modality or "none", f"{losses[-1]:.5f}")
            if self.config.report.samples:
                rows += self._samples(network, modality)
        if rows:
            grid = labelled_grid(_COLUMNS, rows)
            write_picture(self.folder / f"samples_{step:06d}.png", grid)
        mean = float(np.mean(losses))
        log.info("%s step %d: held-out loss %.4f", self.config.name, step, mean)
        return mean

    def _loss(self, network: UNet, modality: str | None) -> float:
        rng = self._generator()
        x0, condition = self.source.batch(modality, self.config.report.held_out, rng)
        t, noise = self.objective.draw(x0, rng)
        total = 0.0
        for rows in torch.arange(len(x0)).split(self.config.optimizer.batch_size):
            loss = self.objective.at(network, x0[rows], condition.take(rows), t[rows], noise[rows])
            total += loss.item() * len(rows)
        return total / len(x0)

    def _samples(self, network: UNet, modality: str | None) -> list[list[Image.Image | str]]:
        report, rng = self.config.report, self._generator()
        x0, condition = self.source.batch(modality, report.samples, rng)
        noise = torch.from_numpy(rng.standard_normal(x0.shape, dtype=np.float32))
        expert = Expert(
            network,
            self.objective.schedule,
            self.objective.prediction,
            image_size=self.config.image_size,
            channels=x0.shape[1],
            clamp_x0=self.decode is None,
            name=self.config.name,
        )
        weight = 1.0 if modality is None else report.weight
        terms = [Term(expert, condition, null_rows(condition), weight=weight)]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.objective.autocast):
            samples = sample_product(terms, noise, str(report.sample_steps))
        if self.decode is not None:
            samples, x0 = self.decode(samples), self.decode(x0)
        return [[self._tile(condition, i), to_picture(samples[i]), to_picture(x0[i])] for i in range(len(x0))]

    def _tile(self, condition: Condition, row: int) -> Image.Image | str:
        if condition.maps is not None:
            maps = condition.maps[row : row + 1]
            whole = F.pixel_shuffle(maps, self.config.image_size // maps.shape[-1])
            return map_to_picture(whole[0].amax(dim=0, keepdim=True))
        if condition.labels is not None:
            return f"class {condition.labels[row].item()}"
        return "none" if condition.embedding is None else "embedding"

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng((self.config.optimizer.seed, _STREAM))
