"""One factor of the product, and which factors act at which noise level."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion.schedule import NoiseSchedule, Schedule
from ..expert.condition import Condition
from ..expert.expert import Expert


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
        return window_of(self.start, self.end, lambda share: _level(reference, share))


def window_of(start: float, end: float, level: Callable[[float], float]) -> tuple[float, float]:
    """A window given as shares of the sampling, as noise levels (σ_start, σ_end).

    Args:
        start: Share at which it begins, 0…1.
        end: Share at which it ends, 0…1.
        level: Noise level at a share.

    Returns:
        The levels; a window that lasts to the end has −∞, because samplers may ask at σ = 0 as well.
    """
    return (math.inf if start <= 0 else level(start), -math.inf if end >= 1 else level(end))


def active_terms(windows: Sequence[tuple[float, float]], sigma: float) -> tuple[int, ...]:
    """Indices of the terms whose window holds the noise level."""
    return tuple(i for i, (start, end) in enumerate(windows) if start >= sigma > end)


def active_sets(windows: Sequence[tuple[float, float]], sigmas: Sequence[float] | Tensor) -> list[tuple[int, ...]]:
    """Every set of active terms that a run can meet; samplers evaluate between the listed noise levels too.

    Sets change only just below a window's edge, so it is enough to look at the edges.

    Args:
        windows: (σ_start, σ_end) of each term.
        sigmas: Noise levels of the run, in any order.

    Raises:
        ValueError: If at some level no term is active.
    """
    levels = sigmas.tolist() if isinstance(sigmas, Tensor) else sigmas  # not every accelerator has float64
    last, first = float(min(levels)), float(max(levels))
    edges = {edge for window in windows for edge in window if last < edge < first}
    sets = {sigma: active_terms(windows, sigma) for sigma in sorted({first, last} | edges, reverse=True)}
    for sigma, active in sets.items():
        if not active:
            raise ValueError(
                f"Expected an active expert at every noise level and got none at σ = {sigma:.4g}; widen start and end "
                "of an expert so that the windows leave no gap."
            )
    return list(dict.fromkeys(sets.values()))


def _level(schedule: NoiseSchedule, share: float) -> float:
    last = len(schedule) - 1 if isinstance(schedule, Schedule) else schedule.t(torch.tensor(math.inf)).item()
    return schedule.sigma((1 - share) * last).item()
