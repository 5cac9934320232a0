"""The plan at every noise level of a run: which experts act there. Each is made once, and checked before the run."""

import itertools
import math
from collections.abc import Hashable, Sequence

from torch import Tensor

from ...diffusion.schedule import levels_of
from ..curve import factor_at, progress_at
from ..evaluation import NoiseLevel
from ..plan import Plan
from ..span import ALWAYS, Level
from ..term_settings import TermSettings
from .combination import PlanMaker, ProductPlans
from .coverage import warn_of_empty, warn_of_uncovered
from .separate import SeparatePlans
from .windows import active_at, active_sets, breakpoints


class Planner:
    """The plans of one run.

    Args:
        plans: Makes the plan for a set of experts.
        level: Noise level of the reference expert at a progress of the sampling, 0…1, from which windows and weight
            curves follow; None if no expert has any.
        warn: Whether to warn, once each, of empty masks and of the part of the picture that no mask covers.
        level_of_curves: The same as `level` for weight curves, which ask it dozens of times at every noise level that
            they haven't met; None for `level` itself.
    """

    def __init__(
        self,
        plans: PlanMaker,
        level: Level | None = None,
        warn: bool = True,
        level_of_curves: Level | None = None,
    ):
        self.plans = plans
        self.methods = plans.methods
        self.level = level
        self._level_of_curves = level_of_curves or level
        self.windows = [ALWAYS if level is None else term.window(level) for term in plans.terms]
        self._varies = bool(self.methods) or any(
            window != ALWAYS or term.weight_curve for window, term in zip(self.windows, plans.terms, strict=True)
        )
        self._may_warn = warn and len(plans.masks) > 0  # once
        if self._may_warn:
            warn_of_empty(plans.terms, plans.masks_on_host or plans.masks)
        self._range = (-math.inf, math.inf)
        self._breakpoints: list[float] = []
        self._made: dict[tuple, Plan] = {}
        self._refused: set[tuple] = set()
        self._factors: dict[float, tuple[float, ...]] = {}

    @property
    def terms(self) -> Sequence[TermSettings]:
        """The experts' settings."""
        return self.plans.terms

    def separate(self) -> "Planner":
        """A planner for separate predictions of the same experts; it doesn't warn of masks again."""
        assert isinstance(self.plans, ProductPlans)
        return Planner(SeparatePlans(self.plans), self.level, warn=False, level_of_curves=self._level_of_curves)

    def change(self, plans: PlanMaker) -> None:
        """Forget the plans, and have the next ones made by `plans`, of the same experts."""
        self.plans = plans
        self._made.clear()
        self._refused.clear()

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
        self._breakpoints = breakpoints(self._edges(), levels)
        self._range = (min(levels), max(levels))
        self._check_levels(want_null=False)

    def at(self, noise: NoiseLevel, want_null: bool = False) -> Plan:
        """The plan at a noise level of the reference expert, which is read only where plans depend on it.

        Args:
            noise: Noise level; samplers that add noise may ask above those of the run, where its highest one counts.
            want_null: Whether the sampler asks for U also where W is 1.

        Raises:
            ValueError: If no expert is active, or the active ones cannot be combined.
        """
        if want_null:  # known from the first call on; what is missing then must not come up later
            self._check_levels(want_null)
        if not self._varies:
            return self._plan(tuple(range(len(self.terms))), want_null, None, ())
        return self.at_any_level(self._within_run(noise.number), want_null)

    def at_any_level(self, sigma: float, want_null: bool = False) -> Plan:
        """As `at`, also beyond the levels of the run."""
        acting = active_at(self.windows, sigma)
        for method in self.methods:
            turn = method.turn(sigma)
            if turn is not None:
                sets = method.sets(acting, self.terms)
                acting = sets[turn % len(sets)]
        return self._plan(acting, want_null, self._factors_at(sigma), [method.phase(sigma) for method in self.methods])

    def unsaved_at(self, noise: NoiseLevel, want_null: bool = False) -> Plan:
        """As `at`, without the methods that save passes, for comparison.

        If that plan lacks a null, which only those methods make needless, it is `at`'s plan.
        """
        level = self._within_run(noise.number)
        phases = [method.neutral if method.saves else method.phase(level) for method in self.methods]
        wanted = active_at(self.windows, level), want_null, self._factors_at(level), tuple(phases)
        if wanted not in self._refused:
            try:
                return self._plan(*wanted)
            except ValueError:
                self._refused.add(wanted)
        return self.at(noise, want_null)

    def check_always(self) -> None:
        """Refuse experts that act at all levels and cannot be combined, without knowing any noise level.

        Raises:
            ValueError: If they can't at some level.
        """
        everyone = tuple(range(len(self.terms)))
        for acting in self._sets(everyone):
            for phases in itertools.product(*(method.phases() for method in self.methods)):
                self._plan(acting, False, None, phases)

    def _within_run(self, sigma: float) -> float:
        low, high = self._range
        return min(max(sigma, low), high)

    def _sets(self, active: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The sets of experts that may act while these are active."""
        sets = [active]
        for method in self.methods:
            sets = [found for acting in sets for found in method.sets(acting, self.terms)]
        return sets

    def _edges(self) -> list[float]:
        """The noise levels at which windows, phases of methods and weight curves change."""
        edges = [edge for window in self.windows for edge in window]
        edges += [edge for method in self.methods for edge in method.edges()]
        if self.level is not None:
            edges += [self.level(progress) for term in self.terms for progress, _ in term.weight_curve if progress > 0]
        return edges

    def _factors_at(self, sigma: float) -> tuple[float, ...] | None:
        """The factor of each expert's weight at a noise level; None if no expert has a weight curve."""
        curves = [term.weight_curve for term in self.terms]
        if self._level_of_curves is None or not any(curves):
            return None
        if sigma not in self._factors:
            passed = progress_at(sigma, self._level_of_curves)
            self._factors[sigma] = tuple(factor_at(curve, passed) for curve in curves)
        return self._factors[sigma]

    def _check_levels(self, want_null: bool) -> None:
        for level in self._breakpoints:
            phases = [method.phase(level) for method in self.methods]
            for acting in self._sets(active_at(self.windows, level)):
                self._plan(acting, want_null, self._factors_at(level), phases)

    def _plan(
        self,
        acting: tuple[int, ...],
        want_null: bool,
        factors: tuple[float, ...] | None,
        phases: Sequence[Hashable],
    ) -> Plan:
        key = (acting, want_null, factors, tuple(phases))
        if key not in self._made:
            self._made[key] = self.plans.make(acting, want_null, factors or (1.0,) * len(self.terms), phases)
            masks = self.plans.masks_on_host or self.plans.masks
            self._may_warn = self._may_warn and not warn_of_uncovered(self.terms, acting, masks)
        return self._made[key]
