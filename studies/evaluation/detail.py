"""Measures what is to be seen inside an animal, by its edges."""

import numpy as np
from scipy.ndimage import binary_fill_holes

from ..data.landscapes import Landscape
from ..metrics import widened
from .silhouettes import find_silhouette

_RIM = 3  # pixels that the silhouette's own edge is wide


def measure_detail(image: np.ndarray, animal: str, landscape: Landscape) -> float:
    """The edges inside an animal; a silhouette of one colour has none.

    Args:
        image: uint8, (S, S, 3).
        animal: See `find_silhouette`.
        landscape: Likewise.

    Returns:
        The mean square of the luma's differences between neighbouring pixels, 0…255, down and across, at least 3 pixels
        inside the silhouette; NaN where there is no animal.
    """
    # filled, since eyes and other parts may have colours of the scenery
    filled = binary_fill_holes(find_silhouette(image, animal, landscape).inside)
    inside = ~widened(~filled, _RIM)
    if not inside.any():
        return float("nan")
    luma = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    slopes = np.square(np.gradient(luma)).sum(axis=0)
    return float(slopes[inside].mean())
