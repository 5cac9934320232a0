"""A training run on pictures and their conditions."""

from abc import ABC
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from torch import Tensor

from ...expert.condition import Condition
from ..config import DataConfig, OptimizerConfig
from ..data.sources import Source, drop_rows
from .loop import Network, RunConfig, TrainingReport, TrainingRun


class PictureRunConfig(RunConfig, Protocol):
    """Fields that the configuration of every run on pictures has; a dataclass."""

    @property
    def data(self) -> DataConfig:
        """Pictures and conditions."""

    @property
    def optimizer(self) -> OptimizerConfig:
        """Optimizer and schedule."""


PictureConfig = TypeVar("PictureConfig", bound=PictureRunConfig)


class PictureRun(TrainingRun[PictureConfig, Network], ABC):
    """A training run on the batches of pictures that a source draws.

    Args:
        config: The run.
        source: Its batches.
        report: See `TrainingRun`.
        folder: Likewise.
    """

    def __init__(
        self,
        config: PictureConfig,
        source: Source,
        report: TrainingReport[Network],
        folder: Path,
    ):
        self.source = source
        super().__init__(config, report, folder)

    def next_batch(self) -> tuple[Tensor, Condition, np.random.Generator]:
        """The step's pictures, its conditions after dropout, and its generator for all other randomness.

        Each step seeds its own generator, so that a resumed run draws the same numbers as an uninterrupted one.
        """
        options, data = self.config.optimizer, self.config.data
        rng = np.random.default_rng((options.seed, self.step))
        modalities = data.trained or data.modalities
        modality = modalities[self.step % len(modalities)] if modalities else None
        x0, condition = self.source.batch(modality, options.batch_size, rng)
        return x0, drop_rows(condition, options.condition_dropout, rng), rng
