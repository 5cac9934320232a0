"""Plans of a run: who acts at a noise level, with which coefficients, and which predictions that takes."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from .agreement import PLAIN_WEIGHTS, Agreement
from .coefficients import (
    Coefficient,
    anywhere,
    everywhere,
    guidance_scale,
    is_one,
    normalize_reliabilities,
    total_of,
)
from .coverage import warn_of_uncovered
from .curve import factor_at, share_at
from .passes import EVERY_PASS, Passes
from .plan import Plan
from .rule import Rule
from .share import Share
from .turns import acting_in_turn, step_at
from .windows import Window, active_at, active_sets, levels_of, telling_levels

ALWAYS: Window = (math.inf, -math.inf)
Level = Callable[[float], float]
"""Noise level of the reference expert at a share of the sampling."""


class Planner:
    """Makes the plans of one run, each once, and refuses what cannot be combined before a network is called.

    Args:
        shares: The experts'.
        rule: How predictions are combined.
        level: Noise level of the reference expert at a share of the sampling, by which it is known when each acts; None
            where all act everywhere.
        masks: Each expert's mask, values 0…1, in shapes that broadcast to the sample; None is everywhere.
        have_null: Whether each expert has a null; all by default.
        as_guidance: Whether the scale of the plans is W, as hooks on guidance are shown it, and not 1.
        null_is_read: Whether something other than the rule asks for the first expert's null.
        give_null: What a refusal tells the user to do about a missing null.
        passes: What the run may leave out.
        agreement: How positive weights are shared out, place by place.
        warn: Whether to say how much of the picture no mask covers, once.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        rule: Rule,
        *,
        level: Level | None = None,
        masks: Sequence[Tensor | None] | None = None,
        have_null: Sequence[bool] | None = None,
        as_guidance: bool = False,
        null_is_read: bool = False,
        give_null: str = "give its null",
        passes: Passes = EVERY_PASS,
        agreement: Agreement = PLAIN_WEIGHTS,
        warn: bool = True,
    ):
        count = len(shares)
        self.shares = tuple(shares)
        self.rule = rule
        self.level = level
        self.passes = passes
        self.agreement = agreement
        self.windows = [ALWAYS if level is None else share.window(level) for share in shares]
        self._interval = ALWAYS if level is None else passes.window(level)
        self._agreeing = ALWAYS if level is None else agreement.window(level)
        self.masks = masks or [None] * count
        self.have_null = have_null or [True] * count
        self.as_guidance = as_guidance
        self.null_is_read = null_is_read
        self.give_null = give_null
        self._warn = warn
        self._sharing: Sequence[int] = range(count)
        self._range = (-math.inf, math.inf)
        self._levels: list[float] = []
        self._telling: list[float] = []
        self._plans: dict[tuple, Plan] = {}
        self._factors: dict[float, tuple[float, ...]] = {}

    def share_nulls(self, sharing: Sequence[int]) -> None:
        """Say for each expert which is the first that has the same null, so that it is asked once."""
        self._sharing = sharing
        self._plans.clear()

    def set_run(self, levels: Sequence[float]) -> None:
        """Say the noise levels of the run, by which experts take turns; without any, all act together."""
        self._levels = [*levels]

    def reweight(self, weights: Sequence[float]) -> None:
        """Change the experts' weights in the middle of a run.

        Raises:
            ValueError: If one is not finite.
        """
        self.shares = tuple(replace(share, weight=w) for share, w in zip(self.shares, weights, strict=True))
        self._plans.clear()

    def with_shares(self, shares: Sequence[Share]) -> "Planner":
        """The same for other shares of the same experts; it warns of nothing, as this one has."""
        other = copy.copy(self)
        other.shares, other._plans, other._warn = tuple(shares), {}, False
        return other

    def check_run(self, sigmas: Sequence[float] | Tensor) -> None:
        """Refuse a run that would fail later.

        Args:
            sigmas: Noise levels of the run, descending, or ascending where noise is added; samplers may ask for levels
                between them.

        Raises:
            ValueError: If no expert is active at some level, or the active ones cannot be combined.
        """
        levels = levels_of(sigmas)
        active_sets(self.windows, levels)
        self.set_run(levels)
        self._telling = telling_levels(self._edges(), levels)
        self._range = (min(levels), max(levels))
        self._check_levels(want_null=False)

    def at(self, sigma: float, want_null: bool = False) -> Plan:
        """The plan at a noise level of the reference expert.

        Args:
            sigma: Noise level; samplers that add noise may ask above those of the run, where its highest one counts.
            want_null: Whether the sampler asks for U also where W is 1.

        Raises:
            ValueError: If no expert is active, or the active ones cannot be combined.
        """
        if want_null:  # known from the first call on; what is missing then must not come up later
            self._check_levels(want_null)
        low, high = self._range
        return self.plan_at(min(max(sigma, low), high), want_null)

    def plan_at(self, sigma: float, want_null: bool = False) -> Plan:
        """As `at`, also beyond the levels of the run."""
        turn = (max(step_at(self._levels, sigma), 1) - 1) // self.passes.switch if self.passes.switch else 0
        return self._plan_in_turn(sigma, want_null, turn)

    def _plan_in_turn(self, sigma: float, want_null: bool, turn: int) -> Plan:
        guided, agreeing = (_is_within(window, sigma) for window in (self._interval, self._agreeing))
        sets = self.acting(active_at(self.windows, sigma)) if self._levels else [active_at(self.windows, sigma)]
        factors = self._factors_at(sigma)
        return self.plan(sets[turn % len(sets)], want_null, factors=factors, guided=guided, agreeing=agreeing)

    def acting(self, active: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The sets of experts that act one after the other where some are active: one for each turn."""
        if not self.passes.switch:
            return [active]
        guiding = {i for i in active if self.shares[i].weight > 0}
        return [acting_in_turn(active, guiding, turn) for turn in range(max(len(guiding), 1))]

    def plain_at(self, sigma: float, want_null: bool = False) -> Plan:
        """As `at`, for a run without a guidance interval and turns, to compare with.

        That may be short of a null which the interval makes needless; then it is `at`'s plan.
        """
        low, high = self._range
        level = min(max(sigma, low), high)
        try:
            active, agreeing = active_at(self.windows, level), _is_within(self._agreeing, level)
            return self.plan(active, want_null, factors=self._factors_at(level), agreeing=agreeing)
        except ValueError:
            return self.at(sigma, want_null)

    def plan(
        self,
        active: tuple[int, ...],
        want_null: bool = False,
        *,
        factors: tuple[float, ...] | None = None,
        guided: bool = True,
        agreeing: bool = True,
    ) -> Plan:
        """The plan of a set of active experts.

        Args:
            active: Their indices, ascending.
            want_null: As in `at`.
            factors: What each expert's weight is multiplied by; None is 1 for all.
            guided: Whether it is within the guidance interval.
            agreeing: Whether it is within the span of agreement weights.

        Raises:
            ValueError: As `at`.
        """
        agreeing = agreeing and guided and self.agreement.acts
        key = (active, want_null, factors, guided, agreeing)
        if key not in self._plans:
            ones = (1.0,) * len(self.shares)
            self._plans[key] = self._make_plan(active, want_null, factors or ones, guided, agreeing)
        return self._plans[key]

    def _edges(self) -> list[float]:
        """The noise levels at which windows, the guidance interval, agreement weights and weight curves change."""
        edges = [edge for window in (*self.windows, self._interval, self._agreeing) for edge in window]
        if self.level is not None:
            edges += [self.level(share) for expert in self.shares for share, _ in expert.weight_curve if share > 0]
        return edges

    def _factors_at(self, sigma: float) -> tuple[float, ...] | None:
        """What weights are multiplied by at a noise level; None where there is no curve."""
        curves = [share.weight_curve for share in self.shares]
        if self.level is None or not any(curves):
            return None
        if sigma not in self._factors:
            passed = share_at(sigma, self.level)
            self._factors[sigma] = tuple(factor_at(curve, passed) for curve in curves)
        return self._factors[sigma]

    def _check_levels(self, want_null: bool) -> None:
        for level in self._telling:
            for turn in range(len(self.acting(active_at(self.windows, level)))):
                self._plan_in_turn(level, want_null, turn)

    def _make_plan(
        self, active: tuple[int, ...], want_null: bool, factors: Sequence[float], guided: bool, agreeing: bool
    ) -> Plan:
        if not active:
            raise ValueError("Expected an active expert at this noise level and got none; widen a window.")
        numbers = {i: self.shares[i].weight * factors[i] for i in active}
        weights = self._weights(numbers) if guided else self._unguided_weights(numbers)
        total = total_of(weights)
        contending = tuple(i for i in active if agreeing and numbers[i] > 0 and anywhere(weights[i] != 0))
        contending = contending if len(contending) > 1 else ()
        if guided or not self.rule.always_combines_nulls:
            reliabilities = self._reliabilities(active, total, want_null or bool(contending))
        else:
            reliabilities = list(weights)  # so that the nulls cancel
        read = [0] if self.null_is_read else []
        counted = [j for j in active if self._null_counts(j, weights, reliabilities, total, want_null)]
        compared = [j for j in active if contending and self._is_compared(j, reliabilities, contending)]
        nulls = tuple(dict.fromkeys([*read, *counted, *compared]))
        for j in nulls:
            if not self.have_null[j]:
                raise ValueError(self._missing_null(j, total, want_null, counts=j in counted, compared=j in compared))
        asked_anyway = {self._sharing[j] for j in (*read, *counted)}
        if self._warn:
            self._warn = not warn_of_uncovered(self.shares, active, self.masks)
        return Plan(
            weights=weights,
            reliabilities=reliabilities,
            scale=guidance_scale(total) if self.as_guidance else 1.0,
            rule=self.rule,
            conditions=tuple(i for i, w in enumerate(weights) if anywhere(w != 0)),
            nulls=nulls,
            sharing=self._sharing,
            agreement=self.agreement,
            contending=contending,
            compared=tuple(j for j in dict.fromkeys(self._sharing[j] for j in compared) if j not in asked_anyway),
        )

    def _weights(self, numbers: Mapping[int, float]) -> list[Coefficient]:
        """Weights of all experts where the active ones have these, scaled by their masks."""
        found: list[Coefficient] = [0.0] * len(self.shares)
        for i, number in numbers.items():
            mask = self.masks[i]
            found[i] = number if mask is None else number * mask
        return found

    def _unguided_weights(self, numbers: Mapping[int, float]) -> list[Coefficient]:
        """The positive weights divided by their sum, so that W is 1 at every place, and 0 in place of the others."""
        positive = {i: number for i, number in numbers.items() if number > 0}
        if not positive:
            labels = ", ".join(self.shares[i].label for i in numbers)
            raise ValueError(
                f"Expected an expert of positive weight wherever {self.passes.label} does not reach, and got none "
                f"among {labels}; raise the weight of one of them, or widen the interval."
            )
        found: list[Coefficient] = [0.0] * len(self.shares)
        shared = normalize_reliabilities(list(positive.values()), [self.masks[i] for i in positive])
        for i, weight in zip(positive, shared, strict=True):
            found[i] = weight
        return found

    def _reliabilities(self, active: Sequence[int], total: Coefficient, want_null: bool) -> list[Coefficient]:
        """A normalized over the active experts where U counts, else 0."""
        found: list[Coefficient] = [0.0] * len(self.shares)
        always = want_null or self.rule.always_combines_nulls
        if not always and everywhere(is_one(total)):
            return found
        given = [self.shares[i].reliability for i in active]
        if sum(given) <= 0:
            remedy = "because the unconditional estimate is asked for whatever the weights sum to"
            raise ValueError(
                "Expected reliabilities with a positive sum and got 0 for "
                f"{', '.join(self.shares[i].label for i in active)}; raise the reliability of one of them, "
                f"{remedy if always else 'or let the weights sum to 1'}."
            )
        for i, share in zip(active, normalize_reliabilities(given, [self.masks[i] for i in active]), strict=True):
            found[i] = share
        return found

    def _null_counts(
        self,
        index: int,
        weights: Sequence[Coefficient],
        reliabilities: Sequence[Coefficient],
        total: Coefficient,
        want_null: bool,
    ) -> bool:
        """Whether an expert's null enters the result, with what it counts for the experts that share it."""
        together = [i for i, owner in enumerate(self._sharing) if owner == self._sharing[index]]
        weight, reliability = (total_of([of[i] for i in together]) for of in (weights, reliabilities))
        return self.rule.needs_null(weight, reliability, total) or (want_null and anywhere(reliability != 0))

    def _is_compared(self, index: int, reliabilities: Sequence[Coefficient], contending: Sequence[int]) -> bool:
        """Whether agreement weights need an expert's null: for U, or because its coefficient is one of theirs."""
        of_weight = self.rule.always_combines_nulls and index in contending
        return of_weight or anywhere(reliabilities[index] != 0)

    def _missing_null(self, index: int, total: Coefficient, want_null: bool, counts: bool, compared: bool) -> str:
        share = self.shares[index]
        reason, remedy = self.rule.why(share, total)
        if not counts and compared:
            reason = "because agreement weights compare experts with the unconditional estimate"
            remedy = "set its reliability to 0, or tau to 0"
        elif not counts:
            reason = "because a node that changed the guidance of its MODEL asks for it"
            remedy = "or remove that node"
        elif want_null and not self.rule.always_combines_nulls:
            reason = (
                f"whose reliability is {share.reliability:g}, because the sampler or a node asks for the unconditional "
                "estimate whatever the weights sum to, as CFG++ samplers do"
            )
            remedy = "set its reliability to 0, or choose another sampler"
        return f"Expected a null for {share.label}, {reason}, and got none; {self.give_null}, {remedy}."


def _is_within(window: Window, sigma: float) -> bool:
    start, end = window
    return start >= sigma > end
