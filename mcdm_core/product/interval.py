"""Guidance in a limited interval of a run.

Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion
Models", 2024.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from .coefficients import Coefficient, normalize_reliabilities
from .method import Draft, Method
from .span import Level, Span
from .windows import ALWAYS, is_within


class GuidanceInterval(Method):
    """Outside it positive weights are divided by their sum, so that W is 1 at every place, and others are 0.

    Args:
        span: The interval.
        level: Noise level of the reference expert at a progress of the sampling, 0…1; None where none is known.

    Raises:
        ValueError: If the span is empty, see `Span.window`.
    """

    saves = True
    neutral = True

    def __init__(self, span: Span, level: Level | None):
        self._label = span.label
        self._window = ALWAYS if level is None else span.window(level)

    def edges(self) -> Sequence[float]:
        """Where it begins and ends."""
        return self._window

    def phase(self, sigma: float) -> Hashable:
        """Whether it is within the interval."""
        return is_within(self._window, sigma)

    def phases(self) -> Sequence[Hashable]:
        """Within, and outside."""
        return True, False

    def draft(self, draft: Draft, phase: Hashable) -> Draft:
        """Unguided weights outside the interval.

        Raises:
            ValueError: If none is positive.
        """
        if phase:
            return draft
        positive = {i: number for i, number in draft.numbers.items() if number > 0}
        if not positive:
            labels = ", ".join(draft.terms[i].label for i in draft.numbers)
            raise ValueError(
                f"Expected an expert of positive weight wherever {self._label} does not reach, and got none "
                f"among {labels}; raise the weight of one of them, or widen the interval."
            )
        weights: list[Coefficient] = [0.0] * len(draft.terms)
        normalized = normalize_reliabilities(list(positive.values()), [draft.masks[i] for i in positive])
        for i, weight in zip(positive, normalized, strict=True):
            weights[i] = weight
        return replace(draft, weights=weights, guided=False)
