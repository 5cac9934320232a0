"""One evaluation of a product: the sample and noise level, the predictions that networks are asked for, the answers.

`product/evaluate.py` fills it, stage by stage.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from torch import Tensor

from .plan import Asked, Plan, Predictions


class Networks(Protocol):
    """The networks of a product's experts, at one point."""

    def ask(self, plan: Plan, asked: Asked) -> tuple[Predictions, Predictions]:
        """Predictions of x0 under the conditions and under the nulls, shape (B, …).

        Args:
            plan: The plan that takes the predictions.
            asked: The predictions to make. Others may come back as well.

        Returns:
            Both by the index of the expert; a null that several experts share by the first of them.
        """

    def rows(self, plan: Plan, asked: Asked) -> int:
        """How many rows networks would be given for that: predictions times samples of the batch."""


class NoiseLevel:
    """A noise level as a number, read from its device once and only where something depends on it.

    Reading waits until the device has done all that it was given; a step that needs no number never waits.

    Args:
        sigma: The level: a number, or a tensor of equal entries, shape (B,).
    """

    def __init__(self, sigma: Tensor | float):
        self._sigma = sigma

    @cached_property
    def number(self) -> float:
        """The level."""
        return float(self._sigma.flatten()[0] if isinstance(self._sigma, Tensor) else self._sigma)


@dataclass(frozen=True)
class Point:
    """The sample at which a product is evaluated, and its noise level.

    Attributes:
        x: α·x0 + σ·n in the form of the reference expert, shape (B, …).
        level: Its noise level as the run's levels are given.
        unbounded: From such a level to that of the same sample in the variance-exploding form, x0 + σ·n, which is the
            form of the core's own samples.
    """

    x: Tensor
    level: NoiseLevel
    unbounded: Callable[[float], float] = float

    @property
    def sigma(self) -> float:
        """The noise level of the same sample in the variance-exploding form, x0 + σ·n."""
        return self.unbounded(self.level.number)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation as far as it has come: each stage of the methods is given one, and changes a part of it.

    Attributes:
        point: The sample and its noise level.
        plan: The coefficients, and the predictions that they take.
        asked: Which of the predictions networks are asked for.
        networks: The experts' networks.
        cond: x0 under the conditions, by the index of the expert.
        null: x0 under the nulls, likewise, with what stands in for passes that were left out; a null that several
            experts share by the first of them.
        rows: How many rows networks were given, see `Networks.rows`; 0 where no method saves any.
        plain_rows: How many the product without those methods would have taken; likewise.
    """

    point: Point
    plan: Plan
    asked: Asked
    networks: Networks
    cond: Predictions = field(default_factory=dict)
    null: Predictions = field(default_factory=dict)
    rows: int = 0
    plain_rows: int = 0

    def pair(self) -> tuple[Tensor, Tensor]:
        """C and U, see `Plan.pair`."""
        return self.plan.pair(self.cond, self.null)

    def unconditional(self) -> Tensor | None:
        """U, shape (B, …); None where it was not needed."""
        return self.plan.unconditional(self.cond, self.null)
