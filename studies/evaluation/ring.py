"""Measures the ring of a wrong colour around an animal, which appears where two experts disagree about its outline."""

import functools

import numpy as np
from skimage.measure import label

from ..data.animals import colors_of
from ..data.landscapes import HILL_COLORS, ORB_COLORS, SKY_COLORS, Landscape
from ..metrics import widened

_NEAR = 48.0  # largest RGB distance of colours that count as equal; drawn animals vary by as much
_UNIT = 64  # units per side of a picture; the band begins one unit away from the animal, beyond blended colours
_BAND = 4  # width of the band in units
_FAINT = 2  # pixels; areas at most twice as thick are blends of two colours, or edges between two hills


def ring_share(image: np.ndarray, animal: str, landscape: Landscape) -> float:
    """Share of the band around an animal whose colour is neither the animal's nor one of its scenery.

    The animal is the largest connected area of its own colours.

    Args:
        image: uint8, (S, S, 3), S a multiple of 64.
        animal: One of `ANIMALS`.
        landscape: The landscape behind it, without another foreground.

    Returns:
        0 (no ring) … 1; NaN where there is no animal.
    """
    to_animal, to_scenery = (_distances(image, colors) for colors in (colors_of(animal), scenery_colors(landscape)))
    silhouette = _largest((to_animal <= _NEAR) & (to_animal < to_scenery))
    if not silhouette.any():
        return float("nan")
    unit = len(image) // _UNIT
    begin, end = (widened(silhouette, parts * unit) for parts in (1, 1 + _BAND))
    strange = (to_animal > _NEAR) & (to_scenery > _NEAR)
    band = end & ~begin
    thick = widened(~widened(~strange, _FAINT), _FAINT)
    return float(thick[band].mean()) if band.any() else float("nan")


def scenery_colors(landscape: Landscape) -> np.ndarray:
    """RGB of its sky, its sun or moon, and its hills, (colours, 3)."""
    a = landscape.attributes
    orb = ORB_COLORS[a["orb"]]
    return np.array([SKY_COLORS[a["sky"]], *HILL_COLORS[a["hills"]], *([] if orb is None else [orb])])


def _distances(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """RGB distance of each pixel to the nearest colour, (H, W)."""
    squares = (np.square(image.astype(np.float32) - color.astype(np.float32)).sum(axis=-1) for color in colors)
    return np.sqrt(functools.reduce(np.minimum, squares))


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask, (H, W)."""
    parts = label(mask)
    counts = np.bincount(parts.ravel())
    counts[0] = 0
    return (parts == counts.argmax()) & mask
