"""What a product is made of at a noise level: coefficients, and the predictions that they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

from .coefficients import Coefficient, Coefficients
from .rule import Rule

Predictions = Mapping[int, Tensor]
"""Predictions of x0 by the index of the expert, shape (B, …)."""
Factor = tuple[Coefficient, Tensor]
"""c_k and D_k: what a prediction counts in the product, a number or a map, and the prediction, shape (B, …)."""


class Asked(NamedTuple):
    """What networks are asked in a call.

    Attributes:
        conditions: Experts asked under their condition.
        nulls: Experts asked under their null, one for all that share it.
    """

    conditions: tuple[int, ...]
    nulls: tuple[int, ...]

    @property
    def passes(self) -> int:
        """How many predictions that is."""
        return len(self.conditions) + len(self.nulls)


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan(Coefficients):
    """The coefficients at a noise level, and the predictions that they take.

    Weights are scaled by the masks, and 0 for inactive experts; reliabilities are normalized over the active ones, and
    0 for the others and for all where no null is needed. Experts are told by their indices.

    Attributes:
        rule: How predictions are combined.
        conditions: Experts whose prediction under their condition is needed.
        nulls: Experts whose prediction under their null is needed.
        null_owners: For each expert the first one that has the same null.
        compared: By a method, the experts that it compares with U, see `Method.compared`.
        for_methods: Of the distinct nulls those that are asked for such comparisons alone.
    """

    rule: Rule
    conditions: tuple[int, ...]
    nulls: tuple[int, ...]
    null_owners: Sequence[int]
    compared: Mapping[Any, tuple[int, ...]]
    for_methods: tuple[int, ...] = ()

    @cached_property
    def everything(self) -> Asked:
        """All predictions that the plan takes."""
        return Asked(self.conditions, tuple(dict.fromkeys(self.null_owners[j] for j in self.nulls)))

    def is_one_alone(self, index: int) -> bool:
        """Whether C and U of `pair` are what this expert predicts itself, to the bit, at every place."""
        if self.conditions != (index,) or self.area(index) is not None or self.scale != self.weights[index]:
            return False
        return set(self.everything.nulls) <= {self.null_owners[index]}

    def area(self, index: int) -> Tensor | None:
        """Where an expert acts, up to a factor, as a map that broadcasts to the sample; None is everywhere alike."""
        weight = self.weights[index]
        return weight if isinstance(weight, Tensor) else None

    def pair(self, cond: Predictions, null: Predictions) -> tuple[Tensor, Tensor]:
        """Combine predictions into (C, U), of which the product is U + s (C − U); at s = 1 it is C.

        Args:
            cond: Predictions under the conditions, of the experts in `conditions`.
            null: Predictions under the nulls, of the experts whose they are.
        """
        experts = range(len(self.null_owners))
        nulls = [null[self.null_owners[j]] if j in self.nulls else None for j in experts]
        return self.rule.pair([cond.get(i) for i in experts], nulls, self, self.null_owners)

    def unconditional(self, cond: Predictions, null: Predictions) -> Tensor | None:
        """U, shape (B, …); None where no null is asked. Takes what `pair` takes."""
        return self.pair(cond, null)[1] if self.nulls else None

    def factors(self, cond: Predictions, null: Predictions) -> list[Factor]:
        """The predictions that the product is the sum of, with what each counts, c_k; Σ c_k = 1.

        Takes what `pair` takes.
        """
        of_nulls = self.rule.null_coefficients(self)
        return [
            *((self.weights[i], cond[i]) for i in self.conditions),
            *((of_nulls[j], null[self.null_owners[j]]) for j in self.nulls),
        ]

    def reweighted(self, weights: Sequence[Coefficient]) -> "Plan":
        """The same with other weights that have the same sum everywhere; maps among them are not looked at."""
        return replace(self, weights=weights, before=self)
