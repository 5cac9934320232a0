"""Writes picture files."""

import io
import os
from pathlib import Path

from PIL import Image

from ..system.formats import write_bytes


def write_picture(path: str | os.PathLike, picture: Image.Image) -> None:
    """Write a picture in the format of its file's suffix, whole or not at all.

    Raises:
        ValueError: Pillow writes no such format.
        WriteError: It could not be written; what the file held before is unchanged.
    """
    write_bytes(path, encoded(picture, picture_format(path)))


def picture_format(path: str | os.PathLike) -> str:
    """Pillow's format for files of this name.

    Raises:
        ValueError: There is none, or it can't hold RGB pictures.
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
