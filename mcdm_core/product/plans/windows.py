"""Which experts act at which noise level."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ..span import Window, is_within


def active_at(windows: Sequence[Window], sigma: float) -> tuple[int, ...]:
    """Indices of the experts whose window holds the noise level."""
    return tuple(i for i, window in enumerate(windows) if is_within(window, sigma))


def breakpoints(edges: Iterable[float], levels: Sequence[float]) -> list[float]:
    """The levels of a run to look at where something changes only at given edges, descending.

    They are its first and last, the edges between them, and a level between each two, for what is linear there.

    Args:
        edges: Noise levels at which windows, intervals and curves change.
        levels: Noise levels of the run, in any order.
    """
    last, first = min(levels), max(levels)
    changes = sorted({first, last, *(edge for edge in edges if last < edge < first)}, reverse=True)
    return [*(level for a, b in pairwise(changes) for level in (a, (a + b) / 2)), last]
