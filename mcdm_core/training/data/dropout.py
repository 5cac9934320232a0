"""Condition dropout, which classifier-free guidance needs in training (Ho and Salimans, 2021)."""

import numpy as np
import torch
from torch import Tensor

from ...expert.condition import Condition


def drop_rows(condition: Condition, fraction: float, rng: np.random.Generator) -> Condition:
    """Set a random fraction of the rows to the null condition: zeros, for classes class 0."""

    def dropped(value: Tensor | None) -> Tensor | None:
        if value is None:
            return None
        keep = torch.from_numpy(rng.random(len(value)) >= fraction)
        return value * keep.view(-1, *[1] * (value.ndim - 1))

    return Condition(
        labels=dropped(condition.labels),
        maps=dropped(condition.maps),
        embedding=dropped(condition.embedding),
        text_active=condition.text_active,
    )


def null_rows(condition: Condition) -> Condition:
    """The null condition for every row, as `drop_rows` makes it."""
    return drop_rows(condition, 1.0, np.random.default_rng())
