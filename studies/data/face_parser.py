"""Reads maps and colours back from a drawn or sampled face, by the palette it was drawn with.

The parser is independent of the networks. Its result for real renders is the ceiling to compare all figures with.
"""

from dataclasses import dataclass

import numpy as np

from .faces import BACKGROUNDS, BEARD_SHADE, CLOTHES_COLOR, HAIR_COLORS, SKIN_COLORS

SHADOW = 0.8  # the style draws black at 20 % opacity over rear hair and neck
MOUTH_COLOR = (97, 21, 25)
_NEUTRALS = ((0, 0, 0), (255, 255, 255), CLOTHES_COLOR, tuple(round(SHADOW * c) for c in CLOTHES_COLOR), MOUTH_COLOR)
_BORDER = 5  # pixels at the top and upper sides where the background shows


@dataclass(frozen=True)
class Parsed:
    """Result of the parser.

    Attributes:
        hair: Boolean hair map, (H, W).
        skin: Boolean skin map, (H, W).
        colors: Attribute ("hair_color", "skin_color", "background") → value.
    """

    hair: np.ndarray
    skin: np.ndarray
    colors: dict[str, str]


def parse_face(image: np.ndarray) -> Parsed:
    """Parse one picture.

    Args:
        image: uint8, (H, W, 3).
    """
    colors = read_colors(image)
    hair, skin, background = (colors[name] for name in ("hair_color", "skin_color", "background"))
    hair_rgb, skin_rgb, background_rgb = HAIR_COLORS[hair], SKIN_COLORS[skin], BACKGROUNDS[background]
    palette = np.array(
        [
            hair_rgb,
            _shade(hair_rgb, SHADOW),
            skin_rgb,
            _shade(skin_rgb, SHADOW),
            background_rgb,
            _shade(hair_rgb, BEARD_SHADE),
            *_NEUTRALS,
        ]
    )
    nearest = _distances(image, palette).argmin(axis=-1)
    return Parsed(
        hair=nearest <= 1,
        skin=(nearest == 2) | (nearest == 3),
        colors=colors,
    )


def read_colors(image: np.ndarray) -> dict[str, str]:
    """Read only the colours, see `Parsed.colors`.

    Args:
        image: uint8, (H, W, 3).
    """
    nearest = _distances(image, _ALL_COLORS).argmin(axis=-1)
    counts = np.bincount(nearest.ravel(), minlength=len(_ALL_COLORS))
    return {
        "hair_color": _dominant(counts, HAIR_COLORS),
        "skin_color": _dominant(counts, SKIN_COLORS),
        "background": _background(image),
    }


def _shade(rgb: tuple[int, ...], factor: float) -> tuple[float, ...]:
    return tuple(factor * c for c in rgb)


def _distances(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Squared RGB distances, (H, W, len(palette))."""
    difference = image[..., None, :].astype(np.float32) - palette.astype(np.float32)
    return np.square(difference).sum(axis=-1)


_ALL_COLORS = np.array([*HAIR_COLORS.values(), *SKIN_COLORS.values(), *BACKGROUNDS.values(), *_NEUTRALS])
_ALL_NAMES = [*HAIR_COLORS, *SKIN_COLORS, *(f"{name} background" for name in BACKGROUNDS)]


def _dominant(counts: np.ndarray, colors: dict[str, tuple[int, int, int]]) -> str:
    """The colour of a group that most pixels are nearest to, given the counts of all colours of the palette."""
    return max(colors, key=lambda name: counts[_ALL_NAMES.index(name)])


def _background(image: np.ndarray) -> str:
    """The background nearest to most pixels of the upper border."""
    half = image.shape[0] // 2
    border = np.concatenate(
        [image[:_BORDER].reshape(-1, 3), image[:half, :_BORDER].reshape(-1, 3), image[:half, -_BORDER:].reshape(-1, 3)]
    )
    nearest = _distances(border, np.array([*BACKGROUNDS.values()])).argmin(axis=-1)
    return list(BACKGROUNDS)[np.bincount(nearest, minlength=len(BACKGROUNDS)).argmax()]
