"""Which experts act at which noise level."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import Tensor

from ...diffusion.schedule import levels_of
from ..span import Window, is_within


def active_at(windows: Sequence[Window], sigma: float) -> tuple[int, ...]:
    """Indices of the experts whose window holds the noise level."""
    return tuple(i for i, window in enumerate(windows) if is_within(window, sigma))


def active_sets(windows: Sequence[Window], sigmas: Sequence[float] | Tensor) -> list[tuple[int, ...]]:
    """Every set of active experts that a run can meet; samplers evaluate between the listed noise levels too.

    Sets change only just below a window's edge, so it is enough to look at the edges.

    Args:
        windows: One for each expert.
        sigmas: Noise levels of the run, in any order.

    Raises:
        ValueError: If at some level no expert is active.
    """
    edges = [edge for window in windows for edge in window]
    sets = {sigma: active_at(windows, sigma) for sigma in breakpoints(edges, sigmas)}
    for sigma, active in sets.items():
        if not active:
            raise ValueError(
                f"Expected an active expert at every noise level and got none at σ = {sigma:.4g}; widen an expert's "
                "window (start and end, sigma_start and sigma_end) so that no gap is left."
            )
    return list(dict.fromkeys(sets.values()))


def breakpoints(edges: Iterable[float], sigmas: Sequence[float] | Tensor) -> list[float]:
    """The levels of a run to look at where something changes only at given edges, descending.

    They are its first and last, the edges between them, and a level between each two, for what is linear there.

    Args:
        edges: Noise levels at which windows, intervals and curves change.
        sigmas: Noise levels of the run, in any order.
    """
    levels = levels_of(sigmas)
    last, first = min(levels), max(levels)
    changes = sorted({first, last, *(edge for edge in edges if last < edge < first)}, reverse=True)
    return [*(level for a, b in pairwise(changes) for level in (a, (a + b) / 2)), last]
