"""Pictures as files."""

import io
import os
from pathlib import Path

from PIL import Image

from ..system.formats import write_bytes


def write_picture(path: str | os.PathLike, picture: Image.Image) -> None:
    """Write a picture in the format that its file's name ends on; whole or not at all.

    Raises:
        ValueError: Pillow writes no such format.
        WriteError: It could not be written; what the file held before is unchanged.
    """
    write_bytes(path, encoded(picture, picture_format(path)))


def picture_format(path: str | os.PathLike) -> str:
    """The format that pictures have in files of this name.

    Raises:
        ValueError: There is none that colours can be written in.
    """
    suffix = Path(path).suffix.lower()
    known = Image.registered_extensions().get(suffix, "")
    try:
        encoded(Image.new("RGB", (8, 8)), known)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"Expected a picture's name, one that ends in .png for example, and got {os.fspath(path)}; change its end."
        ) from None
    return known


def encoded(picture: Image.Image, name: str = "PNG") -> bytes:
    """A picture as the bytes of a file of Pillow's format `name`."""
    content = io.BytesIO()
    picture.save(content, name)
    return content.getvalue()
