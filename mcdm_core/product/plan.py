"""What a product is made of at a noise level: coefficients, and the predictions that they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .agreement import PLAIN_WEIGHTS, Agreement, agreement_weights
from .coefficients import Coefficient, Coefficients, total_of
from .rule import Rule
from .weighted import add_weighted

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
        agreement: How positive weights are shared out, see `agreed`.
        contending: The experts among which they are; empty where weights stay.
        compared: Of the distinct nulls those that are asked for the sake of that alone.
    """

    rule: Rule
    conditions: tuple[int, ...]
    nulls: tuple[int, ...]
    sharing: Sequence[int]
    agreement: Agreement = PLAIN_WEIGHTS
    contending: tuple[int, ...] = ()
    compared: tuple[int, ...] = ()

    @cached_property
    def distinct_nulls(self) -> tuple[int, ...]:
        """The experts whose null is asked, one for all that share it."""
        return tuple(dict.fromkeys(self.sharing[j] for j in self.nulls))

    def is_one_alone(self, index: int) -> bool:
        """Whether C and U of `pair` are what this expert predicts itself, to the bit, at every place."""
        if self.conditions != (index,) or self.area(index) is not None or self.scale != self.weights[index]:
            return False
        return set(self.distinct_nulls) <= {self.sharing[index]}

    def agreed(self, x: Tensor, alpha: float, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> "Plan":
        """The plan with the weights that the experts' predictions give them, see `Agreement`.

        Args:
            x: The point that was asked about, α·x0 + σ·n, shape (B, …).
            alpha: α; 1 in the variance-exploding form.
            cond: As for `pair`.
            null: As for `pair`.
        """
        if not self.contending:
            return self
        nulls = [null[self.sharing[j]] for j in self.nulls]
        u = add_weighted(torch.zeros_like(x), nulls, [self.reliabilities[j] for j in self.nulls])
        shared = agreement_weights(
            [self.weights[i] for i in self.contending],
            [x - alpha * cond[i] for i in self.contending],  # σ·ε_i
            x - alpha * u,
            self.agreement.tau,
            self.agreement.patch,
        )
        weights = [*self.weights]
        for i, weight in zip(self.contending, shared, strict=True):
            weights[i] = weight
        return self._reweighted(weights)

    def area(self, index: int) -> Tensor | None:
        """Where an expert acts, up to a factor, as a map that broadcasts to the sample; None is everywhere alike."""
        weight = self.weights[index]
        return weight if isinstance(weight, Tensor) else None

    def shares(self) -> dict[int, Tensor]:
        """What share of the positive weights each of the contending experts has, 0…1 place by place; 0 without any."""
        total = total_of([self.weights[i] for i in self.contending])
        parts = {i: torch.as_tensor(self.weights[i] / total) for i in self.contending}
        return {i: part.nan_to_num(0.0) for i, part in parts.items()}

    def pair(self, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Combine predictions into (C, U), of which the product is U + s (C − U); at s = 1 it is C.

        Args:
            cond: Predictions under the conditions, of the experts in `conditions`, shape (B, …).
            null: Predictions under the nulls, of the experts in `distinct_nulls`.
        """
        experts = range(len(self.sharing))
        nulls = [null[self.sharing[j]] if j in self.nulls else None for j in experts]
        return self.rule.pair([cond.get(i) for i in experts], nulls, self, self.sharing)

    def unconditional(self, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> Tensor | None:
        """U, shape (B, …); None where no null is asked.

        Args:
            cond: As for `pair`.
            null: As for `pair`.
        """
        return self.pair(cond, null)[1] if self.nulls else None

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

    def _reweighted(self, weights: Sequence[Coefficient]) -> "Plan":
        """The same with other weights that have the same sum everywhere; maps among them are not looked at."""
        changed = replace(self, weights=weights)
        counts = [isinstance(w, Tensor) or known for w, known in zip(weights, self.own_null_counts, strict=True)]
        known = {name: getattr(self, name) for name in ("total", "without_null", "trusted")}
        vars(changed).update(known, own_null_counts=counts)  # where cached properties keep what they found
        return changed
