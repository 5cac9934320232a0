"""Segmentation maps: soft coverage of one part of the face, white where the part is."""

import logging

from torch import Tensor

from .images import fit, read_image

logger = logging.getLogger(__name__)

AUTO = "auto"
"""Kind of a map: whichever the expert reads."""

_ALIASES = {"face": "skin"}  # the paper's name for the map of the skin

# JPEG leaves slight colour in gray pictures.
_COLOR_DIFFERENCE = 0.1
_COLORED_SHARE = 0.01


def canonical_map(name: str) -> str:
    """Name of a kind of map in expert files: "skin" for "face"."""
    return _ALIASES.get(name, name)


def read_gray(image: Tensor, name: str) -> Tensor:
    """Check an image or mask that is to be a map.

    Args:
        image: ComfyUI's IMAGE (B, H, W, C) with gray values, or MASK (B, H, W) or (H, W); 0…1, 1 where the part is.
        name: Kind of map, for messages.

    Returns:
        float32 (B, 1, H, W) in [0, 1].

    Raises:
        ValueError: If the image is in colour, or cannot be an image or mask (see `read_image`).
    """
    what = f"{name} map"
    values = read_image(image, what)
    if values.shape[1] == 3:
        spread = values.amax(1) - values.amin(1)
        if (spread > _COLOR_DIFFERENCE).float().mean() > _COLORED_SHARE:
            raise ValueError(
                f"The {what} should be gray, white where there is {name} and black elsewhere, but this is a colour "
                "picture; connect a segmentation map or a mask."
            )
    return values.mean(1, keepdim=True)


def read_map(image: Tensor, name: str, size: int) -> Tensor:
    """Turn an image or mask into a map of an expert's size.

    Args:
        image: See `read_gray`.
        name: Kind of map, for messages.
        size: The expert's height and width in pixels.

    Returns:
        float32 (B, 1, size, size) in [0, 1].

    Raises:
        ValueError: See `read_gray`.
    """
    what = f"{name} map"
    result = fit(read_gray(image, name), size, what)
    if not result.any():
        logger.warning("The %s is black all over; check that it is the right picture.", what)
    return result
