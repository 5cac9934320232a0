"""Reads sky, orb and hills back from a picture of a landscape, by the palette it was drawn with."""

import numpy as np

from ..data.face_parser import nearest_color
from ..data.landscapes import HILL_COLORS, IMAGE_SIZE, ORB_COLORS, SKY_COLORS
from ..metrics import shrunk

_TOP = 26  # rows that hold the sky and the orb
_SKY_ROWS = 8
_HILL_ROWS = 34  # first row that has only hills and foreground objects
_SIDES = 12  # columns at either side, mostly free of foreground objects
_ORB_PIXELS = 14


def parse_landscape(image: np.ndarray) -> dict[str, str]:
    """The value of each attribute; image uint8, (64, 64, 3), or of a multiple of that size, which is averaged to it."""
    image = shrunk(image[None], IMAGE_SIZE)[0]
    return {"sky": _sky(image), "orb": _orb(image), "hills": _hills(image)}


def _sky(image: np.ndarray) -> str:
    names = list(SKY_COLORS)
    return _most(image[:_SKY_ROWS].reshape(-1, 3), names, [SKY_COLORS[name] for name in names])


def _hills(image: np.ndarray) -> str:
    low = image[_HILL_ROWS:]
    sides = np.concatenate([low[:, :_SIDES].reshape(-1, 3), low[:, -_SIDES:].reshape(-1, 3)])
    names = [name for name, colors in HILL_COLORS.items() for _ in colors]
    return _most(sides, names, [color for colors in HILL_COLORS.values() for color in colors])


def _orb(image: np.ndarray) -> str:
    """Sun or moon, whichever has more of the sky's pixels nearest to its colour, among those of sky and hills, too."""
    orbs = {name: color for name, color in ORB_COLORS.items() if color is not None}
    sky = SKY_COLORS[_sky(image)]
    palette = [*orbs.values(), sky, *(color for name in HILL_COLORS if name != "white" for color in HILL_COLORS[name])]
    nearest = nearest_color(_above_hills(image, sky), np.array(palette))
    counts = {name: int((nearest == row).sum()) for row, name in enumerate(orbs)}
    name = max(counts, key=lambda orb: counts[orb])
    return name if counts[name] >= _ORB_PIXELS else "none"


def _above_hills(image: np.ndarray, sky: tuple[int, int, int]) -> np.ndarray:
    """The upper rows, with hills replaced by the sky's colour: pixels below which their column has no sky."""
    top = image[:_TOP].astype(np.float32)
    is_sky = np.square(top - np.array(sky)).sum(axis=-1) < 60**2
    sky_below = np.flip(np.logical_or.accumulate(np.flip(is_sky, axis=0), axis=0), axis=0)
    return np.where(sky_below[..., None], top, np.array(sky, dtype=np.float32))


def _most(pixels: np.ndarray, names: list[str], palette: list[tuple[int, int, int]]) -> str:
    counts = np.bincount(nearest_color(pixels, np.array(palette)), minlength=len(palette))
    totals = {name: sum(int(c) for c, n in zip(counts, names, strict=True) if n == name) for name in names}
    return max(totals, key=lambda name: totals[name])
