"""Experts each by itself: what one alone predicts at its own weight, for combinations other than the product."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .coefficients import Coefficient
from .plan import Factor, Plan
from .planner import Planner
from .rule import Rule
from .share import Share
from .weighted import add_weighted

Weigh = Callable[[Mapping[int, float], Mapping[int, Tensor]], Mapping[int, Coefficient]]
"""Signed weights and predictions D_i of the experts that act, by their index, to what each counts, ω; Σ ω = 1."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Alone(Plan):
    """A plan that asks for each expert by itself, and combines them evenly until it is told what each counts.

    Attributes:
        parts: For each expert that acts the plan of it alone.
        signed: Their weights.
        predicted: What each predicts alone, once that is known, see `terms`.
    """

    parts: Mapping[int, Plan]
    signed: Mapping[int, float]
    predicted: Mapping[int, Tensor] = field(default_factory=dict)

    def terms(self, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
        """What each expert predicts alone, D_i = U + |w_i| (D_i(x_i) − U); at |w_i| = 1 its condition.

        U is Eq. 10's, or for the own-null rule the expert's own null.

        Args:
            cond: As for `pair`.
            null: As for `pair`.

        Returns:
            D_i by the index of the expert, shape (B, …).
        """
        return self.predicted or {i: part.pair({i: cond[i]}, null)[0] for i, part in self.parts.items()}

    def area(self, index: int) -> Tensor | None:
        """See `Plan.area`."""
        return self.parts[index].area(index)

    def is_one_alone(self, index: int) -> bool:
        """Never: C and U are what an expert predicts under guidance."""
        return False

    def weighed(self, weigh: Weigh, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> "Alone":
        """The plan with ω as its weights, and with what each expert predicts.

        Args:
            weigh: Says what each expert counts.
            cond: As for `pair`.
            null: As for `pair`.
        """
        known = replace(self, predicted=self.terms(cond, null))
        counts = weigh(self.signed, known.predicted)
        weighed = known._reweighted([counts.get(i, 0.0) for i in range(len(self.weights))])
        assert isinstance(weighed, Alone)
        return weighed

    def factors(self, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> list[Factor]:
        """ω_i and D_i; see `Plan.factors`."""
        return [(self.weights[i], term) for i, term in self.terms(cond, null).items()]

    def unconditional(self, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> Tensor | None:
        """See `Plan.unconditional`; for the own-null rule, where each expert has its own, their mean."""
        found = [part.pair({i: cond[i]}, null)[1] for i, part in self.parts.items() if part.nulls]
        return sum(found[1:], start=found[0]) / len(found) if found else None

    def pair(self, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Σ ω_i D_i, twice: such a combination is no guidance that another scale could strengthen."""
        terms = self.terms(cond, null)
        zero = torch.zeros_like(next(iter(terms.values())))
        combined = add_weighted(zero, [*terms.values()], [self.weights[i] for i in terms])
        return combined, combined


class AlonePlanner(Planner):
    """Plans as another planner does who acts at a noise level, and asks for each expert by itself.

    Outside a guidance interval every expert counts as at weight 1.

    Args:
        planner: The other.
    """

    def __init__(self, planner: Planner):
        vars(self).update(vars(planner.with_shares(planner.shares)))

    def _make_plan(
        self, active: tuple[int, ...], want_null: bool, factors: Sequence[float], guided: bool, agreeing: bool
    ) -> Plan:
        signed = {i: self.shares[i].weight * factors[i] for i in active if self.shares[i].weight * factors[i] != 0}
        check_positive([(self.shares[i].label, signed.get(i, 0.0)) for i in active])
        parts = {}
        for i, weight in signed.items():
            planner = self.with_shares(_alone(self.shares, i, math.copysign(1.0, weight), self.rule))
            planner.as_guidance = False  # so that C is the prediction itself
            parts[i] = Planner._make_plan(planner, active, False, factors, guided, False)
        even = [1 / len(parts) if i in parts else 0.0 for i in range(len(self.shares))]
        return Alone(
            weights=even,
            reliabilities=even,
            rule=self.rule,
            conditions=tuple(parts),
            nulls=tuple(dict.fromkeys(j for part in parts.values() for j in part.nulls)),
            sharing=self._sharing,
            parts=parts,
            signed=signed,
        )

    def _missing_null(self, index: int, total: Coefficient, want_null: bool, counts: bool, compared: bool) -> str:
        lacking, asked = self.shares[index].label, next(share.label for share in self.shares if share.weight != 0)
        return (
            f"Expected a null for {lacking}, because {asked} is asked by itself, at a weight that is not 1 or −1 "
            f"everywhere, and got none; {self.give_null}, or set that weight to 1 or −1, without a mask."
        )


def check_positive(weights: Sequence[tuple[str, float]]) -> None:
    """Refuse experts among whom none is of positive weight.

    Args:
        weights: What messages call each expert, and its weight.

    Raises:
        ValueError: If all are negative or 0, or there is none.
    """
    if not any(weight > 0 for _, weight in weights):
        labels = ", ".join(label for label, _ in weights)
        raise ValueError(
            "Expected an expert of positive weight at every noise level, from which others can be excluded, and got "
            f"none among {labels or 'the active ones'}; raise the weight of one of them, or widen a window."
        )


def _alone(shares: Sequence[Share], index: int, sign: float, rule: Rule) -> list[Share]:
    """The shares of a product in which one expert alone guides; in the own-null rule away from its null alone."""
    found = [replace(share, weight=sign * share.weight if i == index else 0.0) for i, share in enumerate(shares)]
    if rule.always_combines_nulls:
        found = [replace(share, reliability=1.0 if i == index else 0.0) for i, share in enumerate(found)]
    return found
