"""Checks every picture and map, and brings it to the expert's size."""

import logging

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

logger = logging.getLogger(__name__)

# Pictures that were enlarged with a bicubic or Lanczos filter overshoot a little; they are clipped, not refused.
_OVERSHOOT = 0.05


def read_image(image: Tensor, what: str) -> Tensor:
    """Check an image or mask and put its channels first.

    Args:
        image: ComfyUI's IMAGE (B, H, W, C) with C = 1, 3 or 4 (alpha is dropped), or MASK (B, H, W) or
            (H, W); values 0…1.
        what: Name of the image in messages: "hair map", say.

    Returns:
        float32 (B, C, H, W) in [0, 1], C = 1 or 3.

    Raises:
        ValueError: If it has another shape, such as that of one picture without its batch, or values that are not
            finite or far outside [0, 1].
    """
    if not isinstance(image, Tensor):
        raise ValueError(
            f"The {what} should be a tensor, but is of type {type(image).__name__}; convert it to one of shape (batch, "
            "height, width, channels) with values from 0 to 1."
        )
    shape = tuple(image.shape)
    if image.ndim == 3 and shape[-1] in (3, 4) and min(shape[:2]) > 4:  # no mask is so narrow
        raise ValueError(
            f"The {what} has shape {shape}, as one picture without its batch has; add that by `picture[None]`."
        )
    if image.ndim == 2:
        image = image[None]
    if image.ndim == 3:
        image = image[..., None]
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4) or image.numel() == 0:
        raise ValueError(
            f"The {what} should be an image of shape (batch, height, width, 1, 3 or 4) or a mask of shape "
            f"(batch, height, width), but its shape is {shape}; put its channels last and check that it is not empty."
        )
    values = image[..., : 1 if image.shape[-1] == 1 else 3].to(torch.float32)
    if not values.isfinite().all():
        raise ValueError(f"The {what} has values that are not numbers (NaN or infinite); check the node that made it.")
    low, high = values.min().item(), values.max().item()
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise ValueError(
            f"The {what} should have values from 0 to 1, but they go from {low:g} to {high:g}; scale it to that range."
        )
    return rearrange(values.clamp(0, 1), "b h w c -> b c h w")


def fit(image: Tensor, size: int, what: str) -> Tensor:
    """Bring an image to the expert's size: its middle square, resized without aliasing.

    Args:
        image: (B, C, H, W).
        size: Height and width to reach, in pixels.
        what: See `read_image`.

    Returns:
        (B, C, size, size); the very same values if the image has that size already.
    """
    height, width = image.shape[-2:]
    if height != width:
        side = min(height, width)
        logger.warning("The %s is %d × %d pixels; its middle %d × %d are used.", what, width, height, side, side)
        top, left = (height - side) // 2, (width - side) // 2
        image = image[..., top : top + side, left : left + side]
    if image.shape[-1] == size:
        return image
    if image.shape[-1] > size:
        # Averages over each of the expert's pixels, as its training maps and pictures were rendered.
        return F.interpolate(image, (size, size), mode="area")
    return F.interpolate(image, (size, size), mode="bilinear", align_corners=False)
