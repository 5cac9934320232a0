"""Guidance in a limited interval of a run.

Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion
Models", 2024.
"""

from collections.abc import Hashable
from dataclasses import replace

from ..rules.coefficients import Coefficient, normalize_reliabilities
from .method import Draft, SpanMethod


class GuidanceInterval(SpanMethod):
    """Outside the interval, divides positive weights by their sum, so that W is 1 everywhere; others become 0.

    Args:
        span: The interval.
        sigma_at: See `SpanMethod`.
    """

    saves = True
    neutral = True

    def draft(self, draft: Draft, phase: Hashable) -> Draft:
        """Unguided weights outside the interval.

        Raises:
            ValueError: If none is positive.
        """
        if phase:
            return draft
        positive = {i: weight for i, weight in draft.unmasked.items() if weight > 0}
        if not positive:
            labels = ", ".join(draft.terms[i].label for i in draft.unmasked)
            raise ValueError(
                f"Expected an expert of positive weight wherever {self._label} does not reach, and got none "
                f"among {labels}; raise the weight of one of them, or widen the interval."
            )
        weights: list[Coefficient] = [0.0] * len(draft.terms)
        normalized = normalize_reliabilities(list(positive.values()), [draft.masks[i] for i in positive])
        for i, weight in zip(positive, normalized, strict=True):
            weights[i] = weight
        return replace(draft, weights=weights, guided=False)
