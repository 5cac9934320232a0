"""Pictures below each other, as one."""

from collections.abc import Sequence

from PIL import Image

from mcdm_core.pictures.grid import PAPER


def stacked(parts: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other, as wide as the first one.

    Args:
        parts: At least one; all of one width.
    """
    page = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page
