"""How a student learns, as the node's widgets say it and as the core's loop is told."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ....mcdm_core.distil.config import DistilConfig, LearningConfig, LogsConfig, TrajectoryConfig
from ....mcdm_core.distil.run import SAVE_EVERY
from ..run.guider import OwnNullProductGuider, ProductGuider

GUIDERS = {"product": ProductGuider, "own-negative": OwnNullProductGuider}
"""How the experts are combined, by the names of the guiders."""

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
"""What the student computes in, and what the LoRA is kept in, by the names that core's Train LoRA has for them."""

_MOST_WALKED = 16  # batches of trajectories between two turns of the student


@dataclass(frozen=True)
class Learning:
    """How a student learns.

    Attributes:
        rule: A key of `GUIDERS`.
        steps: Steps of the optimizer, 1 or more.
        batch_size: Rows of a step, and trajectories that are walked at a time, 1 or more.
        learning_rate: The largest of the run, above 0.
        rank: Rank of the LoRA, 1 or more.
        seed: Seed of everything that is drawn, 0…2⁶⁴ − 1.
        training_dtype: What the student computes in, a key of `DTYPES`, or "none" for its own.
        lora_dtype: What the LoRA is kept in, a key of `DTYPES`.
        name: Name of the run, which is kept under it until it has ended.
        resume: Whether to go on where a run of this name was cancelled.
    """

    rule: str
    steps: int
    batch_size: int
    learning_rate: float
    rank: int
    seed: int
    training_dtype: str
    lora_dtype: str
    name: str
    resume: bool

    def config(self, most_steps: int) -> DistilConfig:
        """The core's settings.

        The longer it learns, the more batches of trajectories are walked between two turns of the student, up to 16.

        Args:
            most_steps: Steps of the longest trajectories, 1 or more; the shortest have half as many.
        """
        walked = max(1, min(_MOST_WALKED, math.ceil(self.steps / (2 * most_steps))))
        return DistilConfig(
            name=self.name,
            rank=self.rank,
            trajectories=TrajectoryConfig(max(1, most_steps // 2), most_steps, batches=walked),
            optimizer=LearningConfig(
                steps=self.steps,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                seed=self.seed,
                autocast=False,
            ),
            report=LogsConfig(held_out_every=SAVE_EVERY),
        )
