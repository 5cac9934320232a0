"""The product of experts as a denoiser: it predicts x0 as one expert does, so samplers need not know of the others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from ..diffusion.schedule import levels_of, sigma_at_progress
from ..expert.expert import Expert
from .evaluate import evaluate
from .evaluation import Evaluation, NoiseLevel, Point
from .methods.lifts import Lifts
from .methods.method import Methods, Setting
from .methods.registry import methods_of
from .plan import Predictions
from .plans.combination import PlanMaker, ProductPlans
from .plans.planner import Planner
from .plans.separate import SeparatePlan, SeparateWeights, Weigh
from .rules.eq10 import EQ10
from .rules.rule import Rule
from .term import Term
from .term_networks import ExpertPoint, Predicted, TermNetworks


class ProductDenoiser:
    """Combines terms by Eq. 10 at one noise level (paper, §7.2), evaluating nothing that does not enter the result.

    Conditions whose weight is 0 are not evaluated, nulls only where the weights don't sum to 1, and equal nulls of one
    network once. Passes that share a network run as one batch. Predictions of x0 are combined, and clamped to [−1, 1]
    afterwards if the experts work on pixels.

    The first term's expert is the reference: windows are resolved on its schedule, and the learned variance, if any, is
    its own.

    Example:
        >>> terms = [Term(hair, hair_map, hair_map.null()), Term(skin, skin_map, skin_map.null())]
        >>> denoiser = ProductDenoiser(terms)
        >>> x0 = denoiser(x0_plus_noise, sigma)

    Args:
        terms: At least one, for samples of the same channels.
        max_rows: Largest batch given to a network, to save memory; one pass is never split. None is no limit.
        rule: How predictions are combined: `EQ10`, or `OWN_NULL` for composable diffusion.
        settings: Those of methods beyond the paper, see `registry`; earlier predictions stand in for passes only
            within `running`.
        lifts: Gathers from every call how far the experts lift the samples; made from the same terms.

    Attributes:
        windows: The noise levels (σ_start, σ_end) of each term: it acts where σ_start ≥ σ > σ_end.

    Raises:
        ValueError: If there is no term, the experts' samples differ, the rule is given by its name, or settings are not
            in a list.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        max_rows: int | None = None,
        rule: Rule = EQ10,
        settings: Sequence[Setting] = (),
        lifts: Lifts | None = None,
    ):
        if not terms:
            raise ValueError("Expected at least one term and got none; add an expert.")
        _check_kinds(rule, settings)
        self.terms = tuple(terms)
        self.reference = self.terms[0].expert
        self.max_rows = max_rows
        self.rule = rule
        self._check_samples()
        self.windows = [term.window(self._level) for term in self.terms]
        self.settings = settings
        self.lifts = lifts
        self._null_owners = [_first_with_same_null(self.terms, index) for index in range(len(self.terms))]
        self._planners: dict[tuple, Planner] = {}
        self._separate: dict[Planner, Planner] = {}
        self._levels: list[float] = []

    @cached_property
    def methods(self) -> Methods:
        """The methods of the product, the last one its lifts if it has any.

        Raises:
            ValueError: If the span of one is empty.
        """
        return Methods([*methods_of(self.settings, self._level), *([] if self.lifts is None else [self.lifts])])

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Predict x0.

        Args:
            x: x0 + σ·n, shape (B, C, H, W).
            sigma: Noise level above 0, one number or equal entries (B,).

        Returns:
            Combined prediction, shape of x.

        Raises:
            ValueError: If no term is active at σ, or the active ones cannot be combined.
        """
        return self.with_variance(x, sigma)[0]

    def with_variance(self, x: Tensor, sigma: Tensor | float) -> Predicted:
        """As a call, together with the learned variance of the reference expert.

        Returns:
            x0, and v in −1…1 of the same shape; None if that expert has none or is not evaluated at this level.
        """
        found, own = self._evaluate(x, sigma)
        return self._combined(found), own

    def with_terms(self, x: Tensor, sigma: Tensor | float, weigh: Weigh) -> tuple[Tensor, Predictions]:
        """Combine separate predictions of the terms, and return these as well.

        Args:
            x: As for a call.
            sigma: Likewise.
            weigh: Gives the coefficient ω_i of each term that acts.

        Returns:
            x0 = Σ ω_i D_i, clamped as the product is, and D_i by the index of the term, see
                `SeparatePlan.predictions`.

        Raises:
            ValueError: If no term of positive weight is active at σ, a null is missing, or terms take turns
                (`Method.check_separate`).
        """
        self.methods.check_separate()
        found, _ = self._evaluate(x, sigma, weigh)
        assert isinstance(found.plan, SeparatePlan)
        return self._combined(found), found.plan.predicted

    def start(self, noise: Tensor) -> Tensor:
        """The noise that a run starts from, as samplers take it.

        Args:
            noise: Standard normal, shape (B, C, H, W).
        """
        return noise

    def reference_part(self, x: Tensor) -> Tensor:
        """The sample of the reference expert, shape (B, C, H, W), in what samplers make of `start`."""
        return x

    def check_run(self, x: Tensor, sigmas: Sequence[float] | Tensor) -> None:
        """Refuse a run that could not finish, before any network is called.

        Args:
            x: A sample of the run's shape.
            sigmas: Noise levels of the run; samplers may ask for levels between them.

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
        self._separate.clear()
        kept = [0] if self.terms[0].weight == 0 else []  # the reference is asked for the learned variance
        try:
            self.methods.begin(self._levels, kept)
            yield
            self.methods.end()
        finally:
            self._levels = []
            self._separate.clear()
            self.methods.forget()

    def _level(self, progress: float) -> float:
        """Noise level of the reference expert at a progress of the sampling, 0…1."""
        return sigma_at_progress(self.reference.schedule, progress)

    def _evaluate(
        self, x: Tensor, sigma: Tensor | float, weigh: Weigh | None = None
    ) -> tuple[Evaluation, Tensor | None]:
        """An evaluation of the product, or of separate predictions to weigh, and the reference's learned variance."""
        level = _single_level(sigma)
        planner = self._planner(x) if weigh is None else self._separate_planner(x)
        networks = TermNetworks(self.terms, self.max_rows, self._points(x, sigma))
        methods = self.methods if weigh is None else [*self.methods, SeparateWeights(weigh)]
        noise = NoiseLevel(level)
        plain = partial(planner.unsaved_at, noise)
        found = evaluate(Point(x, noise), planner.at_any_level(level), plain, networks, methods)
        return found, networks.variance

    def _points(self, x: Tensor, sigma: Tensor | float) -> list[ExpertPoint]:
        """The sample that each expert is asked about, and its noise level."""
        return [(x, sigma)] * len(self.terms)

    def _check_samples(self) -> None:
        for term in self.terms:
            _check_same_samples(self.reference, term.expert)

    def _combined(self, evaluation: Evaluation) -> Tensor:
        denoised, _ = evaluation.pair()
        return denoised.clamp(-1, 1) if self.reference.clamp_x0 else denoised

    def _planner(self, x: Tensor) -> Planner:
        """The planner for samples of the shape of x, to which masks are fitted."""
        key = (x.shape, x.device, x.dtype)
        if key not in self._planners:
            self._planners[key] = Planner(self._plans(x), self._level, warn=not self._planners)
        return self._planners[key]

    def _plans(self, x: Tensor) -> PlanMaker:
        return self._product_plans([term.mask_like(x) for term in self.terms])

    def _product_plans(self, masks: Sequence[Tensor | None]) -> ProductPlans:
        return ProductPlans(
            terms=self.terms,
            rule=self.rule,
            masks=masks,
            have_null=[term.null is not None for term in self.terms],
            null_owners=self._null_owners,
            methods=self.methods,
        )

    def _separate_planner(self, x: Tensor) -> Planner:
        """As `_planner`, for separate predictions; within a run, all of its levels are checked first."""
        together = self._planner(x)
        if together not in self._separate:
            separate = self._separate[together] = together.separate()
            if self._levels:
                separate.check_run(self._levels)
        return self._separate[together]


def _first_with_same_null(terms: Sequence[Term], index: int) -> int:
    """Index of the first term that has the same network and the same null as the term at `index`."""
    null = terms[index].null
    for first, other in enumerate(terms[:index]):
        same_network = other.expert.key == terms[index].expert.key
        if null is not None and other.null is not None and same_network and other.null.same_as(null):
            return first
    return index


def _check_same_samples(reference: Expert, expert: Expert) -> None:
    if reference.space != expert.space:
        raise ValueError(
            f"Expected experts of one space and got {_samples_of(reference)} and {_samples_of(expert)}; combine "
            "them by `sample_product`, which takes several spaces, or, if they share a VAE, name it in the `metadata` "
            "of both."
        )


def _samples_of(expert: Expert) -> str:
    vae = expert.metadata.get("vae")
    latents = f"latents of the VAE {vae}" if vae else "latents"
    kind = f"{expert.image_size} × {expert.image_size} pixels" if expert.clamp_x0 else latents
    return f"{expert.name} ({expert.channels} channels of {kind})"


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
    if isinstance(settings, Setting):
        raise ValueError(f"Expected a list of settings and got one, {type(settings).__name__}; put it in brackets.")
