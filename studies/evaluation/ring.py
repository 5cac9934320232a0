"""Measures the ring of a wrong colour around an animal, which appears where two experts disagree about its outline."""

import numpy as np

from ..data.landscapes import Landscape
from ..metrics import widened
from .silhouettes import find_silhouette

_UNIT = 64  # units per side of a picture; the band begins one unit away from the animal, beyond blended colours
_BAND = 4  # width of the band in units
_FAINT = 2  # pixels; areas at most twice as thick are blends of two colours, or edges between two hills


def ring_share(image: np.ndarray, animal: str, landscape: Landscape) -> float:
    """Share of the band around an animal whose colour is neither the animal's nor one of its scenery.

    Args:
        image: uint8, (S, S, 3), S a multiple of 64.
        animal: See `find_silhouette`.
        landscape: Likewise.

    Returns:
        0 (no ring) … 1; NaN where there is no animal.
    """
    silhouette = find_silhouette(image, animal, landscape)
    if not silhouette.inside.any():
        return float("nan")
    unit = len(image) // _UNIT
    begin, end = (widened(silhouette.inside, parts * unit) for parts in (1, 1 + _BAND))
    band = end & ~begin
    thick = widened(~widened(~silhouette.strange, _FAINT), _FAINT)
    return float(thick[band].mean()) if band.any() else float("nan")
