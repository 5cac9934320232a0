"""The product of experts as a denoiser: it predicts x0 as one expert does, so samplers need not know there are many."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..expert.condition import Condition, cat
from ..expert.expert import Expert
from .coefficients import Coefficients, coefficients_of, warn_of_uncovered
from .eq10 import combined_epsilon
from .own_null import needs_own_null, own_null_epsilon
from .term import Term, active_sets, active_terms


@dataclass(frozen=True)
class Pass:
    """One network evaluation to be made."""

    expert: Expert
    condition: Condition


@dataclass(frozen=True)
class Plan:
    """What a set of active terms asks for: coefficients, and for each term the index of its pass, or None."""

    coefficients: Coefficients
    passes: list[Pass]
    cond: list[int | None]
    null: list[int | None]


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
        max_rows: Largest batch given to a network, to save memory; None is no limit.

    Raises:
        ValueError: If there is no term, or the experts' samples differ.
    """

    _combine = staticmethod(combined_epsilon)
    _why_null = (
        "whose reliability is not 0, because the weights don't sum to 1 everywhere; give it one, set its reliability "
        "to 0, or let the weights sum to 1"
    )

    def __init__(self, terms: Sequence[Term], max_rows: int | None = None):
        if not terms:
            raise ValueError("Expected at least one term and got none; add an expert.")
        self.terms = tuple(terms)
        self.reference = self.terms[0].expert
        self.max_rows = max_rows
        for term in self.terms:
            _check_same_samples(self.reference, term.expert)
        self.windows = [term.window(self.reference.schedule) for term in self.terms]
        self._plans: dict[tuple, Plan] = {}
        self._warned_uncovered = False

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

    def with_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        """As a call, together with the learned variance of the reference expert.

        Returns:
            x0, and v in −1…1 of the same shape; None if that expert has none or is not evaluated at this level.
        """
        plan = self._plan(active_terms(self.windows, _single_level(sigma)), x)
        predictions = self._evaluate(plan.passes, x, sigma)
        denoised = self._combine(
            [None if i is None else predictions[i][0] for i in plan.cond],
            [None if i is None else predictions[i][0] for i in plan.null],
            plan.coefficients.weights,
            plan.coefficients.reliabilities,
        )
        own = [v for request, (_, v) in zip(plan.passes, predictions, strict=True) if request.expert is self.reference]
        return denoised.clamp(-1, 1) if self.reference.clamp_x0 else denoised, next(iter(own), None)

    def check_run(self, x: Tensor, sigmas: Sequence[float] | Tensor) -> None:
        """Refuse a run that could not finish, before any network is called.

        Args:
            x: A sample of the run's shape.
            sigmas: Noise levels of the run; samplers may ask for levels between them.

        Raises:
            ValueError: If at some level of the run no term is active, or the active ones cannot be combined.
        """
        for active in active_sets(self.windows, sigmas):
            self._plan(active, x)

    def _evaluate(self, passes: list[Pass], x: Tensor, sigma: Tensor | float) -> list[tuple[Tensor, Tensor | None]]:
        """Predictions of all passes, one batch for those that can share it."""
        groups: dict[tuple, list[int]] = {}
        for i, request in enumerate(passes):
            groups.setdefault((request.expert.key, request.condition.signature), []).append(i)
        results: dict[int, tuple[Tensor, Tensor | None]] = {}
        for indices in groups.values():
            size = max(1, self.max_rows // len(x)) if self.max_rows else len(indices)
            for first in range(0, len(indices), size):
                batch = indices[first : first + size]
                condition = cat([passes[i].condition.to(x.device, x.dtype).expand(len(x)) for i in batch])
                level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).flatten()[0]
                x0, v = passes[batch[0]].expert.predict(x.repeat(len(batch), 1, 1, 1), level, condition)
                variances = v.split(len(x)) if v is not None else [None] * len(batch)
                results |= dict(zip(batch, zip(x0.split(len(x)), variances, strict=True), strict=True))
        return [results[i] for i in range(len(passes))]

    def _plan(self, active: tuple[int, ...], x: Tensor) -> Plan:
        key = (active, x.shape, x.device, x.dtype)
        if key not in self._plans:
            self._plans[key] = self._make_plan(active, x)
        return self._plans[key]

    def _make_plan(self, active: tuple[int, ...], x: Tensor) -> Plan:
        if not active:
            raise ValueError("Expected an active expert at this noise level and got none; widen a window.")
        masks = [term.mask_like(x) for term in self.terms]
        self._warned_uncovered = self._warned_uncovered or warn_of_uncovered(self.terms, active, masks)
        coefficients = self._coefficients(active, masks)
        passes: list[Pass] = []
        cond: list[int | None] = [None] * len(self.terms)
        for i in coefficients.conditions:
            condition = self.terms[i].condition
            if condition is not None:  # as every term with a weight has one
                cond[i] = len(passes)
                passes.append(Pass(self.terms[i].expert, condition))
        null: list[int | None] = [None] * len(self.terms)
        for j in coefficients.nulls:
            null[j] = _index_of_null(self.terms[j], passes, len(coefficients.conditions), self._why_null)
        return Plan(coefficients, passes, cond, null)

    def _coefficients(self, active: Sequence[int], masks: Sequence[Tensor | None]) -> Coefficients:
        return coefficients_of(self.terms, active, masks, self._names)

    @property
    def _names(self) -> list[str]:
        return [term.expert.name for term in self.terms]


class OwnNullDenoiser(ProductDenoiser):
    """As `ProductDenoiser`, but each condition is measured against its own expert's null, see `own_null_epsilon`."""

    _combine = staticmethod(own_null_epsilon)
    _why_null = "because its weight is not its share of the reliability everywhere; give it one, or make them equal"

    def _coefficients(self, active: Sequence[int], masks: Sequence[Tensor | None]) -> Coefficients:
        shared = coefficients_of(self.terms, active, masks, self._names, want_null=True)
        pairs = zip(shared.weights, shared.reliabilities, strict=True)
        return replace(shared, nulls=[j for j, pair in enumerate(pairs) if needs_own_null(*pair)])


def _index_of_null(term: Term, passes: list[Pass], first: int, why: str) -> int:
    """Index of the pass of a term's null, appended unless an equal null of the same network is there already."""
    if term.null is None:
        raise ValueError(f"Expected a null condition for {term.expert.name}, {why}.")
    for i, request in enumerate(passes[first:], start=first):
        if request.expert.key == term.expert.key and request.condition.same_as(term.null):
            return i
    passes.append(Pass(term.expert, term.null))
    return len(passes) - 1


def _check_same_samples(reference: Expert, expert: Expert) -> None:
    if (reference.channels, reference.clamp_x0) != (expert.channels, expert.clamp_x0):
        kinds = [
            f"{e.name} ({e.channels} channels of {'pixels' if e.clamp_x0 else 'latents'})" for e in (reference, expert)
        ]
        raise ValueError(f"Expected experts for the same samples and got {' and '.join(kinds)}; combine one kind.")


def _single_level(sigma: Tensor | float) -> float:
    if not isinstance(sigma, Tensor):
        return float(sigma)  # exact, so that a window's edge holds the very level it was computed from
    levels = sigma.flatten()
    if not (levels == levels[0]).all():
        raise ValueError(f"Expected one noise level for the whole batch and got {levels.tolist()}; denoise them apart.")
    return levels[0].item()
