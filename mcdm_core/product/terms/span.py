"""Part of a run, from one noise level down to another."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...system.fields import shown

Window = tuple[float, float]
"""Noise levels (σ_start, σ_end); what has the window acts where σ_start ≥ σ > σ_end."""
ALWAYS: Window = (math.inf, -math.inf)
SigmaAt = Callable[[float], float]
"""Noise level of the reference expert at a progress of the sampling, 0…1."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Part of a run, given by the progress of the sampling, by noise levels, or by both: then it is their intersection.

    Attributes:
        start: Progress of the sampling at which it begins, 0…1; 0 is the noisy end.
        end: Progress at which it ends, 0…1.
        sigma_start: Noise level σ of the reference expert at which it begins; 0 is no limit.
        sigma_end: Noise level at which it ends; 0 is no limit.

    Raises:
        ValueError: If a number cannot be used; one sentence that names the span by its `label`.
    """

    start: float = 0.0
    end: float = 1.0
    sigma_start: float = 0.0
    sigma_end: float = 0.0

    def __post_init__(self) -> None:
        self._check_numbers("start", "end", "sigma_start", "sigma_end")
        if not (0 <= self.start <= 1 and 0 <= self.end <= 1):
            raise ValueError(
                f"Expected start and end between 0 and 1 for {self.label} and got {self.start:g} and {self.end:g}; "
                "they are shares of the sampling, not steps."
            )
        if not self.start < self.end:
            raise ValueError(
                f"Expected start below end for {self.label} and got {self.start:g} and {self.end:g}; swap them, move "
                f"one of them, or remove {self.what}."
            )
        if not (0 <= self.sigma_start < math.inf and 0 <= self.sigma_end < math.inf):
            raise ValueError(
                f"Expected noise levels of 0 or more as sigma_start and sigma_end for {self.label} and got "
                f"{self.sigma_start:g} and {self.sigma_end:g}; set them, or 0 for no limit."
            )
        if self.sigma_start and not self.sigma_start > self.sigma_end:
            raise ValueError(
                f"Expected sigma_start above sigma_end for {self.label}, because noise falls, and got "
                f"{self.sigma_start:g} and {self.sigma_end:g}; swap them, or set one to 0 for no limit."
            )

    @property
    def label(self) -> str:
        """Its name in messages."""
        return "the window"

    @property
    def what(self) -> str:
        """What messages advise to remove if the span is empty."""
        return "it"

    def _check_numbers(self, *names: str) -> None:
        for name in names:
            value: Any = getattr(self, name)
            try:
                math.isfinite(value)
            except (TypeError, ValueError, RuntimeError):  # a text, say, or several numbers
                raise ValueError(
                    f"Expected a number as {name} for {self.label} and got {shown(value)}; set one, such as 1."
                ) from None

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole run."""
        return self.start <= 0 and self.end >= 1 and not self.sigma_start and not self.sigma_end

    def window(self, sigma_at: SigmaAt) -> Window:
        """The span as noise levels.

        Args:
            sigma_at: Noise level of the reference expert at a progress of the sampling, 0…1.

        Returns:
            The levels (σ_start, σ_end); a span that lasts to the end has −∞, as samplers may evaluate at σ = 0, too.

        Raises:
            ValueError: If the intersection is empty.
        """
        first = math.inf if self.start <= 0 else sigma_at(self.start)
        last = -math.inf if self.end >= 1 else sigma_at(self.end)
        window = min(first, self.sigma_start or math.inf), max(last, self.sigma_end or -math.inf)
        if (self.sigma_start or self.sigma_end) and not window[0] > window[1]:
            raise ValueError(
                f"Expected start and end to have noise levels in common with sigma_start and sigma_end for "
                f"{self.label}, and got σ from {first:.4g} to {max(last, 0.0):.4g} and from "
                f"{self.sigma_start or math.inf:.4g} to {self.sigma_end:.4g}; leave one of the two as it was."
            )
        return window


def is_within(window: Window, sigma: float) -> bool:
    """Whether a window holds a noise level."""
    start, end = window
    return start >= sigma > end
