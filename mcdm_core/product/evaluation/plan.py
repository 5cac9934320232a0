"""The plan of a product at a noise level: its coefficients, and the predictions that they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from ..rules.coefficients import Coefficients
from ..rules.rule import Rule

Predictions = Mapping[int, Tensor]
"""Predictions of x0 by the index of the expert, shape (B, …)."""


class Asked(NamedTuple):
    """The predictions that networks are asked for in a call.

    Attributes:
        conditions: Experts asked under their condition.
        nulls: Experts asked under their null; of those that share one, the first.
    """

    conditions: tuple[int, ...]
    nulls: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan(Coefficients):
    """The coefficients at a noise level, and the predictions that they take.

    Weights are scaled by the masks, and 0 for experts that don't act. Reliabilities are normalized over those that act,
    and 0 for the others; all are 0 if no null is needed. Experts are given by their indices.

    Attributes:
        rule: How predictions are combined.
        conditions: Experts whose prediction under their condition is needed.
        nulls: Experts whose prediction under their null is needed.
        null_owners: For each expert the first one that has the same null.
    """

    rule: Rule
    conditions: tuple[int, ...]
    nulls: tuple[int, ...]
    null_owners: Sequence[int]

    @cached_property
    def everything(self) -> Asked:
        """All predictions that the plan takes."""
        return Asked(self.conditions, tuple(dict.fromkeys(self.null_owners[j] for j in self.nulls)))

    def is_single(self, index: int) -> bool:
        """Whether C and U of `pair` are, bit for bit, this expert's own predictions everywhere."""
        if self.conditions != (index,) or self.weight_map(index) is not None or self.scale != self.weights[index]:
            return False
        return set(self.everything.nulls) <= {self.null_owners[index]}

    def kappa_of(self, index: int) -> float:
        """κ: an expert is asked at κ times the noise level of the reference, in the variance-exploding form."""
        return 1.0

    def weight_map(self, index: int) -> Tensor | None:
        """A map of where an expert acts, up to a factor, that broadcasts to the sample; None is everywhere alike."""
        weight = self.weights[index]
        return weight if isinstance(weight, Tensor) else None

    def pair(self, cond: Predictions, null: Predictions) -> tuple[Tensor, Tensor]:
        """Combine predictions into (C, U); the product is U + s (C − U), which at s = 1 is C.

        Args:
            cond: Predictions under the conditions of the experts in `conditions`.
            null: Predictions under the nulls of `everything`.
        """
        experts = range(len(self.null_owners))
        nulls = [null[self.null_owners[j]] if j in self.nulls else None for j in experts]
        return self.rule.pair([cond.get(i) for i in experts], nulls, self, self.null_owners)

    def unconditional(self, cond: Predictions, null: Predictions) -> Tensor | None:
        """U, shape (B, …); None if the plan takes no null. The arguments are `pair`'s."""
        return self.pair(cond, null)[1] if self.nulls else None
