"""The font of grids and plots, the same on every machine."""

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

FONT = Path(__file__).parent / "font" / "DejaVuSans.ttf"


@lru_cache(maxsize=64)
def letters(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans in a size.

    It holds Latin, Greek and Cyrillic letters with their accents, punctuation and mathematical signs. Other letters,
    such as Chinese, would take megabytes: a frame stands for each.

    Args:
        size: Pixels, at least 1.
    """
    return ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)
