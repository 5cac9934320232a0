"""Guidance in a limited interval of a run.

Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion
Models", 2024.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from ..rules.coefficients import Coefficient, normalize_reliabilities
from ..terms.span import ALWAYS, SigmaAt, Span, is_within
from .method import Draft, Method


class GuidanceInterval(Method):
    """Outside the interval, divides positive weights by their sum, so that W is 1 everywhere; others become 0.

    Args:
        span: The interval.
        sigma_at: Noise level of the reference expert at a progress of the sampling, 0…1; None where none is known:
            then the interval is taken for the whole run.

    Raises:
        ValueError: If the interval is empty, see `Span.window`.
    """

    saves = True
    neutral = True

    def __init__(self, span: Span, sigma_at: SigmaAt | None):
        self._label = span.label
        self._window = ALWAYS if sigma_at is None else span.window(sigma_at)

    def edges(self) -> Sequence[float]:
        """Where the interval begins and ends."""
        return self._window

    def phase(self, sigma: float) -> Hashable:
        """Whether the noise level is within the interval."""
        return is_within(self._window, sigma)

    def phases(self) -> Sequence[Hashable]:
        """Within the interval, and outside."""
        return True, False

    def draft(self, draft: Draft, phase: Hashable) -> Draft:
        """Outside the interval, shares of the experts' own weights: what methods before it made of these is guidance.

        Raises:
            ValueError: If none is positive.
        """
        if phase:
            return draft
        positive = {i: weight for i, weight in draft.given.items() if weight > 0}
        if not positive:
            labels = ", ".join(draft.terms[i].label for i in draft.given)
            raise ValueError(
                f"Expected an expert of positive weight wherever {self._label} does not reach, and got none "
                f"among {labels}; raise the weight of one of them, or widen the interval."
            )
        weights: list[Coefficient] = [0.0] * len(draft.terms)
        normalized = normalize_reliabilities(list(positive.values()), [draft.masks[i] for i in positive])
        for i, weight in zip(positive, normalized, strict=True):
            weights[i] = weight
        return replace(draft, weights=weights, guided=False)
