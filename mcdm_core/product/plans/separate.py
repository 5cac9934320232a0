"""Separate predictions: each expert's own, guided at its own weight, for combinations other than the product."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..evaluation.evaluation import Evaluation, NoiseLevel
from ..evaluation.plan import Plan, Predictions
from ..methods.method import Method
from ..rules.coefficients import Coefficient
from ..rules.rule import add_weighted
from .combination import Combination, Moment, plan_product

Weigh = Callable[[Mapping[int, float], Predictions], Mapping[int, Coefficient]]
"""From signed weights and separate predictions D_i, by the index of the expert, to coefficients ω_i; Σ ω_i = 1."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SeparatePlan(Plan):
    """A plan of separate predictions, which all have the same coefficient until `SeparateCoefficients` gives others.

    Attributes:
        parts: For each expert that acts the plan of a product of this expert only.
        signed: Weights of these experts by their terms and curves; a method's `draft` changes those of `parts` alone.
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

    def weight_map(self, index: int) -> Tensor | None:
        """A map of where an expert acts in the plan of its own, see `Plan.weight_map`."""
        return self.parts[index].weight_map(index)

    def is_single(self, index: int) -> bool:
        """Never: C and U are predictions under guidance."""
        return False

    def unconditional(self, cond: Predictions, null: Predictions) -> Tensor | None:
        """U, see `Plan.unconditional`; for the own-null rule, where each expert has its own, their mean."""
        each = [part.pair({i: cond[i]}, null)[1] for i, part in self.parts.items() if part.nulls]
        return sum(each[1:], start=each[0]) / len(each) if each else None

    def pair(self, cond: Predictions, null: Predictions) -> tuple[Tensor, Tensor]:
        """Σ ω_i D_i as both C and U: there is no guidance here that a scale could strengthen."""
        predictions = self.predictions(cond, null)
        zero = torch.zeros_like(next(iter(predictions.values())))
        combined = add_weighted(zero, [*predictions.values()], [self.weights[i] for i in predictions])
        return combined, combined


def plan_separately(combination: Combination, moment: Moment) -> SeparatePlan:
    """The plan of separate predictions of a product's experts.

    Outside a guidance interval every expert predicts as at weight 1.

    Raises:
        ValueError: If no expert of positive weight acts, or one lacks a null that it needs by itself.
    """
    terms = combination.terms
    weights = {i: terms[i].weight * moment.factors[i] for i in moment.acting}
    signed = {i: weight for i, weight in weights.items() if weight != 0}
    check_positive([(terms[i].label, weight) for i, weight in weights.items()])
    parts = {i: _plan_alone(combination, moment, i, weight) for i, weight in signed.items()}
    even = [1 / len(parts) if i in parts else 0.0 for i in range(len(terms))]
    return SeparatePlan(
        weights=even,
        reliabilities=even,
        rule=combination.rule,
        conditions=tuple(parts),
        nulls=tuple(dict.fromkeys(j for part in parts.values() for j in part.nulls)),
        null_owners=combination.owners,
        parts=parts,
        signed=signed,
    )


def _plan_alone(combination: Combination, moment: Moment, index: int, weight: float) -> Plan:
    """The plan of a product that one expert guides; in the own-null rule away from its own null."""
    own = [i == index for i in range(len(combination.terms))]
    sign = math.copysign(1.0, weight)
    weights = [sign * term.weight if is_own else 0.0 for term, is_own in zip(combination.terms, own, strict=True)]
    terms = [replace(term, weight=w) for term, w in zip(combination.terms, weights, strict=True)]
    if combination.rule.always_combines_nulls:
        terms = [replace(term, reliability=float(is_own)) for term, is_own in zip(terms, own, strict=True)]
    alone = replace(combination, terms=terms, as_guidance=False)  # so that C is the prediction itself
    why = f"because {terms[index].label} is asked by itself, at a weight that is not 1 or −1 everywhere"
    return plan_product(alone, moment._replace(want_null=False), (why, "or set that weight to 1 or −1, without a mask"))


class SeparateCoefficients(Method):
    """Gives separate predictions their coefficients.

    Args:
        plan_at: The plan of separate predictions at a noise level, which is also the one that is evaluated.
        weigh: The coefficients.

    Attributes:
        predicted: The separate predictions of the last evaluation, see `SeparatePlan.predictions`.
    """

    predicted: Predictions

    def __init__(self, plan_at: Callable[[NoiseLevel], SeparatePlan], weigh: Weigh):
        self._plan_at = plan_at
        self._weigh = weigh

    def weigh(self, evaluation: Evaluation) -> Plan:
        """The plan of separate predictions with ω as its weights, which keeps these predictions."""
        plan = self._plan_at(evaluation.point.level)
        self.predicted = plan.predictions(evaluation.cond, evaluation.null)
        counts = self._weigh(plan.signed, self.predicted)
        weights = [counts.get(i, 0.0) for i in range(len(plan.weights))]
        return replace(plan, predicted=self.predicted, weights=weights)


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
