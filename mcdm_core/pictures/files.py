"""Picture files to tensors and back, and labelled grids of tensors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from torch import Tensor

INK = (32, 32, 32)
PAPER = (255, 255, 255)
MARGIN = 8


def load_picture(path: str | Path) -> Tensor:
    """Read a picture.

    Args:
        path: Any file that Pillow reads.

    Returns:
        Colours in 0…1, shape (1, H, W, 3).

    Raises:
        ValueError: The file is not a picture.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} should be a picture, such as a PNG file, but it cannot be read as one.") from error
    return torch.from_numpy(pixels)[None]


def to_picture(x0: Tensor) -> Image.Image:
    """Turn a sample into a picture.

    Args:
        x0: Colours in −1…1, shape (3, H, W); values outside are clipped.
    """
    return Image.fromarray(as_bytes(x0.detach()).permute(1, 2, 0).cpu().numpy())


def as_bytes(x0: Tensor) -> Tensor:
    """Colours in −1…1 as uint8, of the same shape; values outside are clipped."""
    return ((x0.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def map_to_picture(values: Tensor) -> Image.Image:
    """Turn a map into a gray picture.

    Args:
        values: Coverage in 0…1, shape (1, H, W).
    """
    return to_picture(values.expand(3, -1, -1) * 2 - 1)


def labelled_grid(columns: Sequence[str], rows: Sequence[Sequence[Image.Image | str]], tile: int = 128) -> Image.Image:
    """Lay out pictures under column titles.

    Args:
        columns: A title per column; a line break starts a second line. Letters get smaller until the longest fits.
        rows: A picture or a text for each column of each row; pictures are enlarged without smoothing.
        tile: Side of a tile in pixels.

    Raises:
        ValueError: A row has not one entry per column.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"Each row needs one tile for each of the {len(columns)} columns, but one has {len(row)}.")
    font = ImageFont.load_default(size=tile // 9)
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
                grid.paste(entry.resize((tile, tile), Image.Resampling.NEAREST), (left, top))
    return grid


def _fitting(lines: Sequence[str], width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of texts, smaller where that keeps the longest line within `width` pixels."""
    size = width // 9
    while size > 1 and any(ImageFont.load_default(size=size).getlength(line) > width for line in lines):
        size -= 1
    return ImageFont.load_default(size=size)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Break a text between words into lines of at most `width` pixels."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
