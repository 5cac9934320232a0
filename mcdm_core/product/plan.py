"""What a product is made of at a noise level: coefficients, and the predictions that they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from .coefficients import Coefficient, Coefficients
from .rule import Rule

Factor = tuple[Coefficient, Tensor]
"""c_k and D_k: what a prediction counts in the product, a number or a map, and the prediction, shape (B, …)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan(Coefficients):
    """The coefficients at a noise level, and the predictions that they take.

    Weights are scaled by the masks, and 0 for inactive experts; reliabilities are normalized over the active ones, and
    0 for the others and for all where no null is needed. Experts are told by their indices.

    Attributes:
        rule: How predictions are combined.
        conditions: Experts whose prediction under their condition is needed.
        nulls: Experts whose prediction under their null is needed.
        sharing: For each expert the first one that has the same null.
    """

    rule: Rule
    conditions: tuple[int, ...]
    nulls: tuple[int, ...]
    sharing: Sequence[int]

    @cached_property
    def distinct_nulls(self) -> tuple[int, ...]:
        """The experts whose null is asked, one for all that share it."""
        return tuple(dict.fromkeys(self.sharing[j] for j in self.nulls))

    def pair(self, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Combine predictions into (C, U), of which the product is U + s (C − U); at s = 1 it is C.

        Args:
            cond: Predictions under the conditions, of the experts in `conditions`, shape (B, …).
            null: Predictions under the nulls, of the experts in `distinct_nulls`.
        """
        experts = range(len(self.sharing))
        nulls = [null[self.sharing[j]] if j in self.nulls else None for j in experts]
        return self.rule.pair([cond.get(i) for i in experts], nulls, self, self.sharing)

    def factors(self, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> list[Factor]:
        """The predictions that the product is the sum of, with what each counts, c_k; Σ c_k = 1.

        Args:
            cond: As for `pair`.
            null: As for `pair`.
        """
        of_nulls = self.rule.null_coefficients(self)
        return [
            *((self.weights[i], cond[i]) for i in self.conditions),
            *((of_nulls[j], null[self.sharing[j]]) for j in self.nulls),
        ]
