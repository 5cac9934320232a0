"""One factor of the product, and which factors act at which noise level."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .condition import Condition
from .experts import Expert
from .schedule import NoiseSchedule, Schedule


@dataclass(frozen=True, eq=False)
class Term:
    """An expert with its condition and its say.

    Attributes:
        expert: Who predicts.
        condition: x_i; None only if `weight` is 0 (an unconditional expert that lends its null).
        null: ∅; None is fine where `reliability` is 0 or the weights sum to 1.
        weight: w_i, any sign; for a single expert the guidance scale that ComfyUI calls cfg.
        reliability: a_i ≥ 0 before normalization.
        mask: Where the expert acts, shape (H, W), (B, H, W) or (B, 1, H, W), values 0…1; None is everywhere.
        start: Share of the timesteps, from the noisy end, at which the expert begins to act, 0…1.
        end: Share at which it stops, 0…1.

    Raises:
        ValueError: If a number, the mask or the window cannot be used.
    """

    expert: Expert
    condition: Condition | None
    null: Condition | None = None
    weight: float = 1.0
    reliability: float = 1.0
    mask: Tensor | None = None
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        name = self.expert.name
        if not math.isfinite(self.weight):
            raise ValueError(f"Expected a finite weight for {name} and got {self.weight}.")
        if not 0 <= self.reliability < math.inf:
            raise ValueError(f"Expected a reliability of 0 or more for {name} and got {self.reliability}.")
        if self.condition is None and self.weight != 0:
            raise ValueError(
                f"Expected a condition for {name}, whose weight is {self.weight}; give one or set the weight to 0."
            )
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(f"Expected 0 ≤ start < end ≤ 1 for {name} and got start {self.start} and end {self.end}.")
        if self.mask is not None and not ((self.mask >= 0) & (self.mask <= 1)).all():
            raise ValueError(f"Expected mask values in 0…1 for {name} and got others, or NaN; rescale the mask.")

    def mask_like(self, x: Tensor) -> Tensor | None:
        """The mask in the shape that broadcasts to samples x (B, C, H, W).

        Raises:
            ValueError: If height, width or batch differ.
        """
        if self.mask is None:
            return None
        mask = self.mask if self.mask.ndim == 4 else self.mask.reshape(-1, 1, *self.mask.shape[-2:])
        if mask.shape[1] != 1 or mask.shape[2:] != x.shape[2:] or mask.shape[0] not in (1, len(x)):
            raise ValueError(
                f"Expected a mask of {x.shape[2]}×{x.shape[3]} for {self.expert.name}, 1 or {len(x)} of them, and got "
                f"shape {tuple(self.mask.shape)}; resize it to the sample."
            )
        return mask.to(x)

    def window(self, reference: NoiseSchedule) -> tuple[float, float]:
        """Window as noise levels (σ_start, σ_end) of the reference expert; the term acts where σ_start ≥ σ > σ_end."""
        start = math.inf if self.start <= 0 else _level(reference, self.start)
        end = 0.0 if self.end >= 1 else _level(reference, self.end)
        return start, end


def active_terms(windows: Sequence[tuple[float, float]], sigma: float) -> tuple[int, ...]:
    """Indices of the terms whose window holds the noise level."""
    return tuple(i for i, (start, end) in enumerate(windows) if start >= sigma > end)


def active_sets(
    windows: Sequence[tuple[float, float]], sigma_first: float, sigma_last: float
) -> dict[float, tuple[int, ...]]:
    """Every set of active terms that a run can meet, keyed by the highest noise level at which it holds.

    Sets change only just below a window's edge, so it is enough to look at the edges. The level 0 is never asked for.

    Args:
        windows: (σ_start, σ_end) of each term.
        sigma_first: Highest noise level of the run.
        sigma_last: Lowest, 0 where it runs to the end.
    """
    edges = {edge for window in windows for edge in window if sigma_last < edge < sigma_first}
    levels = {sigma_first, *edges} | ({sigma_last} if sigma_last > 0 else set())
    return {sigma: active_terms(windows, sigma) for sigma in sorted(levels, reverse=True)}


def _level(schedule: NoiseSchedule, share: float) -> float:
    last = len(schedule) - 1 if isinstance(schedule, Schedule) else schedule.t(torch.tensor(math.inf)).item()
    return schedule.sigma((1 - share) * last).item()
