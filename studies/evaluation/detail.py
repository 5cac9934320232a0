"""Measures what is to be seen inside an animal: edges, and how many colours."""

import numpy as np
from scipy.ndimage import binary_fill_holes

from ..data.landscapes import Landscape
from ..metrics import widened
from .silhouettes import find_silhouette

_RIM = 3  # pixels that the silhouette's own edge is wide
_STEP = 64  # width of the bins of red, green and blue
_SHARE = 0.02  # of the silhouette's flat pixels, for a bin to count as a colour
_FLAT = 4.0  # largest difference, of 255, between neighbouring pixels of one area; blends of two differ by more


def measure_detail(image: np.ndarray, animal: str, landscape: Landscape) -> tuple[float, float]:
    """The edges and colours inside an animal; a silhouette of one colour has 0 and 1.

    Args:
        image: uint8, (S, S, 3).
        animal: See `find_silhouette`.
        landscape: Likewise.

    Returns:
        The mean square of the luma's differences between neighbouring pixels, 0…255, down and across, at least 3 pixels
        inside the silhouette, and the number of bins of 64³ of RGB that hold 2 % or more of its flat pixels; NaN where
        there is no animal.
    """
    # filled, since eyes and other parts may have colours of the scenery
    filled = binary_fill_holes(find_silhouette(image, animal, landscape).inside)
    inside = ~widened(~filled, _RIM)
    if not inside.any():
        return float("nan"), float("nan")
    luma = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    slopes = np.square(np.gradient(luma)).sum(axis=0)
    flat = image[inside & (slopes < _FLAT**2)]
    counts = np.unique(flat // _STEP, axis=0, return_counts=True)[1]
    return float(slopes[inside].mean()), float((counts >= _SHARE * len(flat)).sum())
