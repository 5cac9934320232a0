"""Checks and resizing of pictures for the measures."""

import numpy as np


def checked_pictures(images: np.ndarray) -> np.ndarray:
    """The pictures, if they are uint8, (N, H, W, 3), one or more.

    Raises:
        ValueError: They are not.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        raise ValueError(
            f"Pictures have to be uint8, (N, H, W, 3) with N of at least 1, but are {images.dtype}, {images.shape}; "
            "convert them to RGB of 0…255 and stack them."
        )
    return images


def shrunk(images: np.ndarray, size: int) -> np.ndarray:
    """Pictures averaged over squares of pixels to a smaller size.

    Args:
        images: uint8, (N, S, S, 3).
        size: Side to reach, of which S is a multiple.

    Returns:
        uint8, (N, size, size, 3); the very same pictures where they have that size.

    Raises:
        ValueError: S is no multiple of the size.
    """
    count, height, width, channels = checked_pictures(images).shape
    if height == width == size:
        return images
    if height != width or height % size:
        raise ValueError(
            f"Expected square pictures of a multiple of {size} pixels and got {height} × {width}; resize them first."
        )
    squares = images.reshape(count, size, height // size, size, height // size, channels)
    return np.stack([each.mean(axis=(1, 3)).round().astype(np.uint8) for each in squares])


def checked_pairs(images: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and as many references of the same size.

    Raises:
        ValueError: See `checked_pictures`, or the shapes differ.
    """
    images, references = checked_pictures(images), checked_pictures(references)
    if images.shape != references.shape:
        raise ValueError(
            f"Every picture needs a reference of its size, but pictures are {images.shape} and references "
            f"{references.shape}; resize them, or leave out what has no partner."
        )
    return images, references
