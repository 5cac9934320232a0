"""Which experts act at which noise level."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor

Window = tuple[float, float]
"""Noise levels (σ_start, σ_end); an expert acts where σ_start ≥ σ > σ_end."""


def window_of(start: float, end: float, level: Callable[[float], float]) -> Window:
    """A window given as shares of the sampling, as noise levels.

    Args:
        start: Share at which it begins, 0…1.
        end: Share at which it ends, 0…1.
        level: Noise level at a share.

    Returns:
        The levels; a window that lasts to the end has −∞, because samplers may ask at σ = 0 as well.
    """
    return (math.inf if start <= 0 else level(start), -math.inf if end >= 1 else level(end))


def active_at(windows: Sequence[Window], sigma: float) -> tuple[int, ...]:
    """Indices of the experts whose window holds the noise level."""
    return tuple(i for i, (start, end) in enumerate(windows) if start >= sigma > end)


def active_sets(windows: Sequence[Window], sigmas: Sequence[float] | Tensor) -> list[tuple[int, ...]]:
    """Every set of active experts that a run can meet; samplers evaluate between the listed noise levels too.

    Sets change only just below a window's edge, so it is enough to look at the edges.

    Args:
        windows: One for each expert.
        sigmas: Noise levels of the run, in any order.

    Raises:
        ValueError: If at some level no expert is active.
    """
    levels = levels_of(sigmas)
    last, first = min(levels), max(levels)
    edges = {edge for window in windows for edge in window if last < edge < first}
    sets = {sigma: active_at(windows, sigma) for sigma in sorted({first, last} | edges, reverse=True)}
    for sigma, active in sets.items():
        if not active:
            raise ValueError(
                f"Expected an active expert at every noise level and got none at σ = {sigma:.4g}; widen start and end "
                "of an expert so that the windows leave no gap."
            )
    return list(dict.fromkeys(sets.values()))


def levels_of(sigmas: Sequence[float] | Tensor) -> list[float]:
    """Noise levels as numbers: not every accelerator has float64."""
    return [float(sigma) for sigma in (sigmas.tolist() if isinstance(sigmas, Tensor) else sigmas)]
