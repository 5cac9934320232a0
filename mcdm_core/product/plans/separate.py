"""Separate predictions: each expert's own, guided at its own weight, for combinations other than the product."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..evaluation import Evaluation
from ..methods.method import Method
from ..plan import Plan, Predictions
from ..rules.coefficients import Coefficient
from ..rules.rule import add_weighted
from .combination import PlansFromProduct, ProductPlans

Weigh = Callable[[Mapping[int, float], Predictions], Mapping[int, Coefficient]]
"""From signed weights and separate predictions D_i, by the index of the expert, to coefficients ω_i; Σ ω_i = 1."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SeparatePlan(Plan):
    """A plan of separate predictions, which all have the same coefficient until `weighed` gives them others.

    Attributes:
        parts: For each expert that acts the plan of a product of this expert only.
        signed: Weights of these experts.
        predicted: Their separate predictions, once they are known, see `predictions`.
    """

    parts: Mapping[int, Plan]
    signed: Mapping[int, float]
    predicted: Predictions = field(default_factory=dict)

    def predictions(self, cond: Predictions, null: Predictions) -> Predictions:
        """The separate predictions D_i = U + |w_i| (D_i(x_i) − U); at |w_i| = 1 that under the condition.

        U is Eq. 10's, or for the own-null rule the expert's own null. The arguments are `pair`'s.
        """
        return self.predicted or {i: part.pair({i: cond[i]}, null)[0] for i, part in self.parts.items()}

    def area(self, index: int) -> Tensor | None:
        """See `Plan.area`."""
        return self.parts[index].area(index)

    def is_single(self, index: int) -> bool:
        """Never: C and U are predictions under guidance."""
        return False

    def weighed(self, weigh: Weigh, cond: Predictions, null: Predictions) -> Plan:
        """The plan with ω as its weights, which keeps the separate predictions.

        Args:
            weigh: Gives ω.
            cond: As for `pair`.
            null: Likewise.
        """
        known = replace(self, predicted=self.predictions(cond, null))
        counts = weigh(known.signed, known.predicted)
        return replace(known, weights=[counts.get(i, 0.0) for i in range(len(self.weights))])

    def unconditional(self, cond: Predictions, null: Predictions) -> Tensor | None:
        """See `Plan.unconditional`; for the own-null rule, where each expert has its own, their mean."""
        found = [part.pair({i: cond[i]}, null)[1] for i, part in self.parts.items() if part.nulls]
        return sum(found[1:], start=found[0]) / len(found) if found else None

    def pair(self, cond: Predictions, null: Predictions) -> tuple[Tensor, Tensor]:
        """Σ ω_i D_i as both C and U: there is no guidance here that a scale could strengthen."""
        predictions = self.predictions(cond, null)
        zero = torch.zeros_like(next(iter(predictions.values())))
        combined = add_weighted(zero, [*predictions.values()], [self.weights[i] for i in predictions])
        return combined, combined


@dataclass(frozen=True)
class SeparatePlans(PlansFromProduct):
    """Makes plans of separate predictions of a product's experts.

    Outside a guidance interval every expert predicts as at weight 1.

    Attributes:
        product: Makes the product's plans.
    """

    def make(
        self, acting: tuple[int, ...], want_null: bool, factors: Sequence[float], phases: Sequence[Hashable]
    ) -> SeparatePlan:
        """See `PlanMaker`; at least one expert of positive weight has to act."""
        terms = self.product.terms
        signed = {i: terms[i].weight * factors[i] for i in acting if terms[i].weight * factors[i] != 0}
        check_positive([(terms[i].label, signed.get(i, 0.0)) for i in acting])
        parts = {i: self._single(i, weight).make(acting, False, factors, phases) for i, weight in signed.items()}
        even = [1 / len(parts) if i in parts else 0.0 for i in range(len(terms))]
        return SeparatePlan(
            weights=even,
            reliabilities=even,
            rule=self.product.rule,
            conditions=tuple(parts),
            nulls=tuple(dict.fromkeys(j for part in parts.values() for j in part.nulls)),
            null_owners=self.product.owners,
            parts=parts,
            signed=signed,
        )

    def _single(self, index: int, weight: float) -> ProductPlans:
        """Makes plans of a product that one expert guides; in the own-null rule away from its own null."""
        product = self.product
        own = [i == index for i in range(len(product.terms))]
        sign = math.copysign(1.0, weight)
        pairs = zip(product.terms, own, strict=True)
        terms = [replace(term, weight=sign * term.weight if is_own else 0.0) for term, is_own in pairs]
        if product.rule.always_combines_nulls:
            pairs = zip(terms, own, strict=True)
            terms = [replace(term, reliability=1.0 if is_own else 0.0) for term, is_own in pairs]
        why = f"because {terms[index].label} is asked by itself, at a weight that is not 1 or −1 everywhere"
        return replace(
            product,
            terms=terms,
            as_guidance=False,  # so that C is the prediction itself
            why_missing=(why, "or set that weight to 1 or −1, without a mask"),
        )


class SeparateWeights(Method):
    """Gives separate predictions their coefficients.

    Args:
        weigh: The coefficients.
    """

    def __init__(self, weigh: Weigh):
        self._weigh = weigh

    def weigh(self, evaluation: Evaluation) -> Plan:
        """See `SeparatePlan.weighed`."""
        plan = evaluation.plan
        assert isinstance(plan, SeparatePlan)
        return plan.weighed(self._weigh, evaluation.cond, evaluation.null)


def check_positive(weights: Sequence[tuple[str, float]]) -> None:
    """Refuse experts none of which has a positive weight.

    Args:
        weights: For each expert its name in messages, and its weight.

    Raises:
        ValueError: If all are negative or 0, or there is none.
    """
    if not any(weight > 0 for _, weight in weights):
        labels = ", ".join(label for label, _ in weights)
        raise ValueError(
            "Expected an expert of positive weight at every noise level, from which others can be excluded, and got "
            f"none among {labels or 'the active ones'}; raise the weight of one of them, or widen a window."
        )
