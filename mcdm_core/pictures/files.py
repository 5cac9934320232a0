"""Picture files: read as tensors, and written."""

import io
import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..system.formats import write_bytes
from ..system.shipped import EXAMPLES

Background = Literal["white", "black"]
"""What is seen through a picture where it is transparent: white of pictures and drawings, black of maps and masks."""


def load_picture(path: str | Path, background: Background = "white") -> Tensor:
    """Read a picture, turned as its EXIF data say.

    Args:
        path: Any file that Pillow reads.
        background: See `Background`.

    Returns:
        Colours in 0…1, shape (1, H, W, 3).

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is not a picture, is damaged, or has more pixels than Pillow reads.
    """
    try:
        with Image.open(path) as image:
            pixels = _colors(ImageOps.exif_transpose(image), background)
    except MemoryError:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything, even SyntaxError and RuntimeError
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({' '.join(str(error).split()).rstrip('.')})"
        raise ValueError(
            f"{path} should be a picture, such as a PNG file, but it cannot be read as one{reason}; correct the path "
            "or save the picture again."
        ) from error
    return torch.from_numpy(pixels)[None]


def _colors(image: Image.Image, background: Background) -> np.ndarray:
    """float32 (H, W, 3) in 0…1."""
    if image.mode.startswith("I"):  # gray of 16 bits, of which Pillow would keep the darkest 256 levels
        gray = np.asarray(image, dtype=np.float32).clip(0, 65535) / 65535
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode == "F":  # gray as numbers, which Pillow would take for 0…255
        gray = np.asarray(image)
        if not ((gray >= 0) & (gray <= 1)).all():
            raise ValueError("its numbers should be 0 to 1")
        return np.repeat(gray[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def example_picture(name: str) -> Tensor:
    """Read one of the pictures that ship.

    Example:
        >>> example_picture("face_1_hair").shape
        torch.Size([1, 256, 256, 3])

    Args:
        name: "face_1" to "face_4", or a map of one, "face_1_hair" or "face_1_skin".

    Returns:
        As `load_picture`.

    Raises:
        FileNotFoundError: There is none of that name.
    """
    return load_picture(EXAMPLES / f"{name}.png")


def to_picture(x0: Tensor) -> Image.Image:
    """Turn a sample into a picture.

    Args:
        x0: Colours in −1…1, shape (3, H, W); values outside are clipped.

    Raises:
        ValueError: If it has another shape, as latents have.
    """
    if x0.ndim != 3 or x0.shape[0] != 3:
        raise ValueError(
            f"Expected a picture of shape (3, height, width) and got {tuple(x0.shape)}; decode latents by the expert "
            "whose they are, and take one of the batch."
        )
    return Image.fromarray(rearrange(as_bytes(x0.detach()), "c h w -> h w c").cpu().numpy())


def as_bytes(x0: Tensor) -> Tensor:
    """Colours in −1…1 as uint8, of the same shape; values outside are clipped."""
    return ((x0.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def map_to_picture(values: Tensor) -> Image.Image:
    """Turn a map into a gray picture.

    Args:
        values: Coverage in 0…1, shape (1, H, W).
    """
    return to_picture(values.expand(3, -1, -1) * 2 - 1)


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
