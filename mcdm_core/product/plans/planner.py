"""The plan at every noise level of a run: which experts act there. Each is made once, and checked before the run.

A run begins with `check_run`. In it the host calls `at` and the core `at_any_level`, and `evaluate` counts the rows of
`plain_at`. Where a prompt is queued that needs no noise level to be judged, `check_always` stands for `check_run`.
"""

import itertools
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from torch import Tensor

from ...diffusion.schedule import levels_of
from ..evaluation.evaluation import NoiseLevel
from ..evaluation.plan import Plan
from ..terms.curve import factor_at, progress_at
from ..terms.span import ALWAYS, SigmaAt, Window, is_within
from .combination import AnyPlan, Combination, MakePlan, Moment
from .coverage import warn_of_empty, warn_of_missed, warn_of_uncovered

_Other = TypeVar("_Other", bound=Plan)


class Planner(Generic[AnyPlan]):
    """The plans of one run.

    Args:
        combination: The experts.
        make: Makes their plan at a moment.
        sigma_at: Noise level of the reference expert at a progress of the sampling, 0…1, from which windows and weight
            curves follow; None if no expert has any.
        warn: Whether to warn of windows that a run misses and, once each, of empty masks and of the part of the picture
            that no mask covers; never where masks aren't known.
        sigma_at_of_curves: The same as `sigma_at` for weight curves, which call it dozens of times at every noise level
            that they haven't met; None for `sigma_at` itself.
    """

    def __init__(
        self,
        combination: Combination,
        make: MakePlan[AnyPlan],
        sigma_at: SigmaAt | None = None,
        warn: bool = True,
        sigma_at_of_curves: SigmaAt | None = None,
    ):
        self.combination = combination
        self.methods = combination.methods
        self.sigma_at = sigma_at
        self._make = make
        self._sigma_at_of_curves = sigma_at_of_curves or sigma_at
        terms = combination.terms
        self.windows = [ALWAYS if sigma_at is None else term.window(sigma_at) for term in terms]
        self._varies = bool(self.methods) or any(
            window != ALWAYS or term.weight_curve for window, term in zip(self.windows, terms, strict=True)
        )
        self._everyone = tuple(range(len(terms)))
        self._without_curves = (1.0,) * len(terms)
        self._warns = self._may_warn = warn and len(combination.masks) > 0  # of uncovered places it may once
        if self._warns:
            warn_of_empty(terms, combination.known_masks)
        self._range = (-math.inf, math.inf)
        self._breakpoints: list[float] = []
        self._made: dict[Moment, AnyPlan] = {}
        self._refused: set[Moment] = set()
        self._factors: dict[float, tuple[float, ...]] = {}

    def making(self, make: MakePlan[_Other]) -> "Planner[_Other]":
        """A planner of other plans of the same experts; it doesn't warn again."""
        return Planner(self.combination, make, self.sigma_at, False, self._sigma_at_of_curves)

    def change(self, combination: Combination) -> None:
        """Forget the plans, and make the next ones of another combination of the same experts."""
        self.combination = combination
        self._made.clear()
        self._refused.clear()

    def check_run(self, sigmas: Sequence[float] | Tensor) -> None:
        """Refuse a run that would fail later.

        Args:
            sigmas: Noise levels of the run, descending, or ascending where noise is added; samplers may evaluate
                at levels between them.

        Raises:
            ValueError: If no expert is active at some level, or the active ones cannot be combined.
        """
        levels = levels_of(sigmas)
        self._breakpoints = breakpoints(self._edges(), levels)
        for sigma in self._breakpoints:
            if not active_at(self.windows, sigma):
                raise ValueError(
                    f"Expected an active expert at every noise level and got none at σ = {sigma:.4g}; widen an "
                    "expert's window (start and end, sigma_start and sigma_end) so that no gap is left."
                )
        self._range = (min(levels), max(levels))
        self._check_levels(want_null=False)
        if self._warns:
            warn_of_missed(self.combination.terms, self.windows, levels)

    def at(self, level: NoiseLevel, want_null: bool = False) -> AnyPlan:
        """The plan at a noise level of the reference expert, which is read only where plans depend on it.

        Args:
            level: Noise level; samplers that add noise may evaluate above those of the run, where its highest one
                counts.
            want_null: Whether the sampler wants U also where W is 1.

        Raises:
            ValueError: If no expert is active, or the active ones cannot be combined.
        """
        if want_null:  # known from the first call on; what is missing then must not come up later
            self._check_levels(want_null)
        if not self._varies:
            return self._plan(Moment(self._everyone, self._without_curves, (), want_null))
        return self._plan(self._moment(self._within_run(level.number), want_null))

    def at_any_level(self, level: NoiseLevel) -> AnyPlan:
        """The plan at a noise level that may be beyond those of the run, which `at` would take for their highest.

        The core's denoisers take this one, since they may also be called outside a run.
        """
        return self._plan(self._moment(level.number))

    def plain_at(self, level: NoiseLevel, want_null: bool = False) -> AnyPlan:
        """The plan without the methods that save passes, for comparison; see `at`.

        If that plan lacks a null, which only those methods make needless, it is `at`'s plan.
        """
        sigma = self._within_run(level.number)
        phases = tuple(method.neutral if method.saves else method.phase(sigma) for method in self.methods)
        moment = Moment(active_at(self.windows, sigma), self._factors_at(sigma), phases, want_null)
        if moment not in self._refused:
            try:
                return self._plan(moment)
            except ValueError:
                self._refused.add(moment)
        return self.at(level, want_null)

    def check_always(self) -> None:
        """Refuse experts that act at all levels and cannot be combined, without knowing any noise level.

        Raises:
            ValueError: If they can't at some level.
        """
        for acting in self._sets(self._everyone):
            for phases in itertools.product(*(method.phases() for method in self.methods)):
                self._plan(Moment(acting, self._without_curves, phases))

    def _within_run(self, sigma: float) -> float:
        low, high = self._range
        return min(max(sigma, low), high)

    def _moment(self, sigma: float, want_null: bool = False) -> Moment:
        acting = active_at(self.windows, sigma)
        for method in self.methods:
            turn = method.turn(sigma)
            if turn is not None:
                sets = method.sets(acting, self.combination.terms)
                acting = sets[turn % len(sets)]
        return Moment(acting, self._factors_at(sigma), self._phases(sigma), want_null)

    def _phases(self, sigma: float) -> tuple[Hashable, ...]:
        return tuple(method.phase(sigma) for method in self.methods)

    def _sets(self, active: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The sets of experts that may act while these are active."""
        sets = [active]
        for method in self.methods:
            sets = [own for acting in sets for own in method.sets(acting, self.combination.terms)]
        return sets

    def _edges(self) -> Iterable[float]:
        """The noise levels at which windows, phases of methods and weight curves change."""
        yield from itertools.chain.from_iterable(self.windows)
        for method in self.methods:
            yield from method.edges()
        if self.sigma_at is not None:
            for term in self.combination.terms:
                yield from (self.sigma_at(progress) for progress, _ in term.weight_curve if progress > 0)

    def _factors_at(self, sigma: float) -> tuple[float, ...]:
        """The factor of each expert's weight at a noise level."""
        curves = [term.weight_curve for term in self.combination.terms]
        if self._sigma_at_of_curves is None or not any(curves):
            return self._without_curves
        if sigma not in self._factors:
            passed = progress_at(sigma, self._sigma_at_of_curves)
            self._factors[sigma] = tuple(factor_at(curve, passed) for curve in curves)
        return self._factors[sigma]

    def _check_levels(self, want_null: bool) -> None:
        for sigma in self._breakpoints:
            for acting in self._sets(active_at(self.windows, sigma)):
                self._plan(Moment(acting, self._factors_at(sigma), self._phases(sigma), want_null))

    def _plan(self, moment: Moment) -> AnyPlan:
        if moment not in self._made:
            self._made[moment] = self._make(self.combination, moment)
            masks = self.combination.known_masks
            self._may_warn = self._may_warn and not warn_of_uncovered(self.combination.terms, moment.acting, masks)
        return self._made[moment]


def active_at(windows: Sequence[Window], sigma: float) -> tuple[int, ...]:
    """Indices of the experts whose window holds the noise level."""
    return tuple(i for i, window in enumerate(windows) if is_within(window, sigma))


def breakpoints(edges: Iterable[float], levels: Sequence[float]) -> list[float]:
    """The levels of a run to look at where something changes only at given edges, descending.

    They are its first and last, the edges between them, and a level between each two, for what is linear there.

    Args:
        edges: Noise levels at which windows, intervals and curves change.
        levels: Noise levels of the run, in any order.
    """
    last, first = min(levels), max(levels)
    changes = sorted({first, last, *(edge for edge in edges if last < edge < first)}, reverse=True)
    return [*(level for a, b in itertools.pairwise(changes) for level in (a, (a + b) / 2)), last]
