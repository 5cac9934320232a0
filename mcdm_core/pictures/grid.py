"""Grids of pictures under column titles."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT = Path(__file__).parent / "font" / "DejaVuSans.ttf"
"""The font of grids and plots, the same on every machine."""
INK = (32, 32, 32)
PAPER = (255, 255, 255)
MARGIN = 8
SMALLEST_TILE = 128


def labelled_grid(
    columns: Sequence[str], rows: Sequence[Sequence[Image.Image | str]], tile: int | None = None
) -> Image.Image:
    """Lay out pictures under column titles.

    Args:
        columns: A title per column; a line break starts a second line. Letters get smaller until the longest fits.
        rows: A picture or a text for each column of each row; smaller pictures are enlarged without smoothing.
        tile: Side of a tile in pixels; None for that of the largest picture, and 128 at least.

    Raises:
        ValueError: A row does not have one entry per column.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"Each row needs one tile for each of the {len(columns)} columns, but one has {len(row)}.")
    if tile is None:
        tile = max([SMALLEST_TILE, *(max(e.size) for row in rows for e in row if isinstance(e, Image.Image))])
    font = letters(tile // 9)
    title_font = _fitting([line for title in columns for line in title.splitlines()], tile)
    title_height = tile // 3
    step = tile + MARGIN
    grid = Image.new("RGB", (MARGIN + step * len(columns), title_height + step * len(rows)), PAPER)
    draw = ImageDraw.Draw(grid)
    for column, title in enumerate(columns):
        centre = (MARGIN + column * step + tile // 2, title_height // 2)
        draw.multiline_text(centre, title, fill=INK, font=title_font, anchor="mm", align="center")
    for index, row in enumerate(rows):
        for column, entry in enumerate(row):
            left, top = MARGIN + column * step, title_height + index * step
            if isinstance(entry, str):
                text = _wrapped(entry, font, tile)
                middle = (left + tile // 2, top + tile // 2)
                draw.multiline_text(middle, text, fill=INK, font=font, anchor="mm", align="center")
            else:
                method = Image.Resampling.NEAREST if max(entry.size) <= tile else Image.Resampling.LANCZOS
                grid.paste(entry.resize((tile, tile), method), (left, top))
    return grid


def _fitting(lines: Sequence[str], width: int) -> ImageFont.FreeTypeFont:
    """A font small enough that the longest line fits into `width` pixels."""
    size = width // 9
    while size > 1 and any(letters(size).getlength(line) > width for line in lines):
        size -= 1
    return letters(size)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Break a text between words into lines of at most `width` pixels."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


@lru_cache(maxsize=64)
def letters(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans in a size.

    It holds Latin, Greek and Cyrillic letters with their accents, punctuation and mathematical signs. Other letters,
    such as Chinese, would take megabytes: a frame stands for each.

    Args:
        size: Pixels, at least 1.
    """
    return ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)
