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
    nearest = nearest_color(image, palette)
    return Parsed(hair=nearest <= 1, skin=(nearest == 2) | (nearest == 3), colors=colors)


def read_colors(image: np.ndarray) -> dict[str, str]:
    """Read only the colours, see `Parsed.colors`.

    Args:
        image: uint8, (H, W, 3).
    """
    counts = np.bincount(nearest_color(image, _ALL_COLORS).ravel(), minlength=len(_ALL_COLORS))
    of_hair, of_skin, _ = np.split(counts, [len(HAIR_COLORS), len(HAIR_COLORS) + len(SKIN_COLORS)])
    return {
        "hair_color": list(HAIR_COLORS)[of_hair.argmax()],
        "skin_color": list(SKIN_COLORS)[of_skin.argmax()],
        "background": _background(image),
    }


def _shade(rgb: tuple[int, ...], factor: float) -> tuple[float, ...]:
    return tuple(factor * c for c in rgb)


def nearest_color(pixels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Row of the palette, (colours, 3), that is nearest to each pixel, (…, 3), in RGB."""
    difference = pixels[..., None, :].astype(np.float32) - palette.astype(np.float32)
    return np.asarray(np.square(difference).sum(axis=-1).argmin(axis=-1))


_ALL_COLORS = np.array([*HAIR_COLORS.values(), *SKIN_COLORS.values(), *BACKGROUNDS.values(), *_NEUTRALS])


def _background(image: np.ndarray) -> str:
    """The background nearest to most pixels of the upper border."""
    half = image.shape[0] // 2
    border = np.concatenate(
        [image[:_BORDER].reshape(-1, 3), image[:half, :_BORDER].reshape(-1, 3), image[:half, -_BORDER:].reshape(-1, 3)]
    )
    nearest = nearest_color(border, np.array([*BACKGROUNDS.values()]))
    return list(BACKGROUNDS)[np.bincount(nearest, minlength=len(BACKGROUNDS)).argmax()]
