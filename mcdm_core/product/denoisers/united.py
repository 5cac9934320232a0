"""Terms united as one denoiser: what products of one space and of several have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ...diffusion.schedule import levels_of, sigma_at_progress
from ..evaluate import evaluate
from ..evaluation.evaluation import Evaluation, NoiseLevel, Point
from ..evaluation.plan import Plan
from ..methods.method import Method, Methods, Setting
from ..methods.registry import methods_of
from ..plans.combination import Combination, MakePlan
from ..plans.planner import Planner
from ..rules.eq10 import EQ10
from ..rules.rule import Rule
from ..terms.term import Term
from .term_networks import ExpertPoint, TermNetworks


class UnitedDenoiser(ABC):
    """Terms united as one denoiser, of one space or of several.

    The first term's expert is the reference: windows are resolved on its schedule.

    Args:
        terms: At least one.
        rule: How predictions are combined: `EQ10`, or `OWN_NULL` for composable diffusion.
        settings: What is chosen beyond the paper (`registry`), or methods themselves, as `LiftScores`; earlier
            predictions stand in for passes only within `running`.

    Attributes:
        windows: The noise levels (σ_start, σ_end) of each term: it acts where σ_start ≥ σ > σ_end.

    Raises:
        ValueError: If there is no term, the rule is given by its name, or settings are not in a list.
    """

    _make_plan: MakePlan[Plan]

    def __init__(self, terms: Sequence[Term], rule: Rule = EQ10, settings: Sequence[Setting | Method] = ()):
        if not terms:
            raise ValueError("Expected at least one term and got none; add an expert.")
        _check_kinds(rule, settings)
        self.terms = tuple(terms)
        self.reference = self.terms[0].expert
        self.rule = rule
        self._check_experts()
        self.windows = [term.window(self._sigma_at) for term in self.terms]
        self.settings = settings
        self._null_owners = [_first_with_same_null(self.terms, index) for index in range(len(self.terms))]
        self._planners: dict[tuple, Planner[Plan]] = {}
        self._levels: list[float] = []

    @cached_property
    def methods(self) -> Methods:
        """The methods of the product.

        Raises:
            ValueError: If the span of one is empty.
        """
        return methods_of(self.settings, self._sigma_at)

    @abstractmethod
    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Predict x0.

        Args:
            x: x0 + σ·n, as samplers make it of `start_noise`.
            sigma: Noise level above 0, one number or equal entries (B,).

        Returns:
            Combined prediction, shape of x.

        Raises:
            ValueError: If no term is active at σ, or the active ones cannot be combined.
        """

    @abstractmethod
    def start_noise(self, noise: Tensor) -> Tensor:
        """The noise that a run starts from, as samplers take it.

        Args:
            noise: Standard normal, shape (B, C, H, W).
        """

    @abstractmethod
    def reference_part(self, x: Tensor) -> Tensor:
        """The sample of the reference expert, shape (B, C, H, W), in what samplers make of `start_noise`."""

    def check_run(self, x: Tensor, sigmas: Sequence[float] | Tensor) -> None:
        """Refuse a run that could not finish, before any network is called.

        Args:
            x: A sample of the run's shape.
            sigmas: Noise levels of the run; samplers may evaluate at levels between them.

        Raises:
            ValueError: If at some level of the run no term is active, or the active ones cannot be combined.
        """
        self._planner(x).check_run(sigmas)

    @contextmanager
    def running(self, sigmas: Sequence[float] | Tensor) -> Iterator[None]:
        """A run, within which earlier predictions may stand in for passes, and experts may take turns.

        Args:
            sigmas: Noise levels of the run, as in `check_run`.
        """
        self._levels = levels_of(sigmas)
        read_nulls = [0] if self.terms[0].weight == 0 else []  # the reference is asked for the learned variance
        try:
            self.methods.begin(self._levels, read_nulls)
            yield
            self.methods.end()
        finally:
            self._levels = []
            self.methods.forget()

    @abstractmethod
    def _check_experts(self) -> None:
        """Refuse experts whose samples can't be united."""

    @abstractmethod
    def _points(self, x: Tensor, sigma: Tensor | float) -> list[ExpertPoint]:
        """The sample that each expert is asked about, and its noise level."""

    @abstractmethod
    def _masks(self, x: Tensor) -> list[Tensor | None]:
        """Each term's mask, fitted to the samples of the reference."""

    def _sigma_at(self, progress: float) -> float:
        """Noise level of the reference expert at a progress of the sampling, 0…1."""
        return sigma_at_progress(self.reference.schedule, progress)

    def _planner(self, x: Tensor) -> Planner[Plan]:
        """The planner for samples of the shape of x, to which masks are fitted."""
        key = (x.shape, x.device, x.dtype, torch.is_inference_mode_enabled())  # maps made in that mode take no gradient
        if key not in self._planners:
            combination = Combination(
                terms=self.terms,
                rule=self.rule,
                masks=self._masks(x),
                have_null=[term.null is not None for term in self.terms],
                null_owners=self._null_owners,
                methods=self.methods,
            )
            self._planners[key] = Planner(combination, self._make_plan, self._sigma_at, warn=not self._planners)
        return self._planners[key]

    def _evaluate(
        self, x: Tensor, sigma: Tensor | float, planner: Planner[Plan], *beside: Method
    ) -> tuple[Evaluation, Tensor | None]:
        """An evaluation with methods beside the product's own, and the reference's learned variance."""
        networks = TermNetworks(self.terms, self._points(x, sigma))
        level = NoiseLevel(_single_level(sigma))
        plain = partial(planner.plain_at, level)
        evaluation = evaluate(Point(x, level), planner.at_any_level(level), plain, networks, [*self.methods, *beside])
        return evaluation, networks.variance

    def _combined(self, evaluation: Evaluation) -> Tensor:
        """C, which at the scale 1 of the core's plans is the result; clamped if the reference clamps x0."""
        denoised = evaluation.pair()[0].to(evaluation.point.x.dtype)
        return denoised.clamp(-1, 1) if self.reference.clamp_x0 else denoised


def _first_with_same_null(terms: Sequence[Term], index: int) -> int:
    """Index of the first term that has the same network and the same null as the term at `index`."""
    null = terms[index].null
    for first, other in enumerate(terms[:index]):
        same_network = other.expert.key == terms[index].expert.key
        if null is not None and other.null is not None and same_network and other.null.same_as(null):
            return first
    return index


def _single_level(sigma: Tensor | float) -> float:
    if not isinstance(sigma, Tensor):
        return float(sigma)  # exact, so that a window's edge holds the very level it was computed from
    levels = sigma.flatten()
    if not (levels == levels[0]).all():
        raise ValueError(f"Expected one noise level for the whole batch and got {levels.tolist()}; denoise them apart.")
    return levels[0].item()


def _check_kinds(rule: Any, settings: Any) -> None:
    if not isinstance(rule, Rule):
        raise ValueError(f"Expected EQ10 or OWN_NULL as rule and got {rule!r}; import one of them from mcdm_core.")
    if isinstance(settings, Setting | Method):
        raise ValueError(f"Expected a list of settings and got one, {type(settings).__name__}; put it in brackets.")
