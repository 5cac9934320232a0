"""What is known of one evaluation of a product: where it is asked, who is asked, and the answers."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from .plan import Asked, Factor, Plan, Predictions


class Networks(Protocol):
    """The networks of a product's experts, at one point."""

    def ask(self, plan: Plan, asked: Asked) -> tuple[Predictions, Predictions]:
        """Predictions of x0 under the conditions and under the nulls, shape (B, …).

        Args:
            plan: What they are for.
            asked: What is wanted, nulls by the expert whose they are; more may come back.
        """

    def rows(self, plan: Plan, asked: Asked) -> int:
        """How many rows, of the whole batch, that would take."""


@dataclass(frozen=True)
class Point:
    """Where a product is asked.

    Attributes:
        x: α·x0 + σ·n in the form of the reference, shape (B, …).
        level: Noise level in the terms of the run's levels.
        sigma: The same in the variance-exploding form, x0 + σ·n.
        alpha: α.
    """

    x: Tensor
    level: float
    sigma: float
    alpha: float = 1.0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a product is made of at one point, as far as it is known in a stage.

    Attributes:
        point: Where it was asked.
        plan: Who counts what.
        asked: What they are asked.
        networks: Those that are asked.
        cond: x0 under the conditions, by the index of the expert; what stands in for passes is among them.
        null: x0 under the distinct nulls, by the expert whose they are; likewise.
        cond_answers: x0 under the conditions that were asked.
        rows: How many rows networks were asked; 0 where no method saves any.
        plain_rows: How many the product without those methods would have taken; likewise.
    """

    point: Point
    plan: Plan
    asked: Asked
    networks: Networks
    cond: Predictions = field(default_factory=dict)
    null: Predictions = field(default_factory=dict)
    cond_answers: Predictions = field(default_factory=dict)
    rows: int = 0
    plain_rows: int = 0

    def pair(self) -> tuple[Tensor, Tensor]:
        """C and U, see `Plan.pair`."""
        return self.plan.pair(self.cond, self.null)

    def unconditional(self) -> Tensor | None:
        """U, shape (B, …); None where it was not needed."""
        return self.plan.unconditional(self.cond, self.null)

    def factors(self) -> list[Factor]:
        """What the product is the sum of, see `Plan.factors`."""
        return self.plan.factors(self.cond, self.null)
