"""Finds an animal in front of its landscape by the colours of both."""

import functools
from dataclasses import dataclass

import numpy as np
from skimage.measure import label

from ..data.animals import colors_of
from ..data.landscapes import HILL_COLORS, ORB_COLORS, SKY_COLORS, Landscape

_NEAR = 48.0  # largest RGB distance of colours that count as equal; drawn animals vary by as much


@dataclass(frozen=True)
class Silhouette:
    """An animal in a picture, found by its colours.

    Attributes:
        inside: The largest connected area of the animal's own colours, bool, (H, W); empty where it has none.
        strange: Pixels whose colour is neither one of the animal's nor one of its scenery's, bool, (H, W).
    """

    inside: np.ndarray
    strange: np.ndarray


def find_silhouette(image: np.ndarray, animal: str, landscape: Landscape) -> Silhouette:
    """Find the animal.

    Args:
        image: uint8, (H, W, 3).
        animal: One of `ANIMALS`; its colours are those of all its drawings.
        landscape: The landscape behind it, without another foreground.
    """
    a = landscape.attributes
    orb = ORB_COLORS[a["orb"]]
    scenery = np.array([SKY_COLORS[a["sky"]], *HILL_COLORS[a["hills"]], *([] if orb is None else [orb])])
    to_animal, to_scenery = (_distances(image, colors) for colors in (colors_of(animal), scenery))
    inside = _largest((to_animal <= _NEAR) & (to_animal < to_scenery))
    return Silhouette(inside, (to_animal > _NEAR) & (to_scenery > _NEAR))


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
