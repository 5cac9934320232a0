"""Sketch maps: the edges of pictures, and hand drawings, as the sketch experts were trained on them.

The edge function equals OpenCV's `cv2.Canny(gray, low, high, L2gradient=True)` bit for bit: other libraries find other
edges than those the sketch experts were trained on. It is written in numpy because OpenCV's wheels overwrite each other
where two node packs ask for different ones.

References:
    J. Canny, "A Computational Approach to Edge Detection", IEEE PAMI 8(6), 1986.
"""

from enum import Enum

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .images import fit, read_image

LOW_THRESHOLD = 100.0
HIGH_THRESHOLD = 200.0

_FIXED_POINT = 15  # bits after the point in OpenCV's fixed-point arithmetic
_RED, _GREEN, _BLUE = 9798, 19235, 3735  # .299, .587, .114 with 15 bits, adding up to 2^15
_TAN_22 = 13573  # tan(22.5°) with 15 bits
_LARGEST_THRESHOLD = 32767.0  # OpenCV cuts thresholds here before squaring them
_PIXELS_AT_ONCE = 1 << 20  # bounds the memory of the intermediate int64 arrays

_LEAST_CONTRAST = 0.1  # a drawing whose darkest and lightest pixel differ less is blank paper


class SketchSource(str, Enum):
    """Kinds of images that sketches are made from."""

    EDGES = "edges of a picture"
    DARK_ON_LIGHT = "drawing dark on light"
    LIGHT_ON_DARK = "drawing light on dark"


def rgb_to_gray(image: np.ndarray) -> np.ndarray:
    """Gray value of an RGB picture, rounded as OpenCV's `COLOR_RGB2GRAY` rounds it.

    Args:
        image: uint8 picture(s), shape (..., H, W, 3).

    Returns:
        uint8 gray picture(s), shape (..., H, W).

    Raises:
        ValueError: If `image` is not a uint8 RGB picture.
    """
    if image.dtype != np.uint8 or image.ndim < 3 or image.shape[-1] != 3:
        raise ValueError(
            f"Expected uint8 RGB pictures of shape (..., H, W, 3), got {image.dtype} of shape {image.shape}; "
            "convert the picture to 8-bit RGB first."
        )
    red, green, blue = (image[..., channel].astype(np.int32) for channel in range(3))
    half = 1 << (_FIXED_POINT - 1)
    return ((_RED * red + _GREEN * green + _BLUE * blue + half) >> _FIXED_POINT).astype(np.uint8)


def canny(gray: np.ndarray, low: float = LOW_THRESHOLD, high: float = HIGH_THRESHOLD) -> np.ndarray:
    """Canny edges of gray pictures, equal to `cv2.Canny(gray, low, high, L2gradient=True) > 0`.

    Args:
        gray: uint8 gray picture(s), shape (..., H, W).
        low: Gradient above which a pixel joins an edge it touches, 0 or more.
        high: Gradient above which a pixel starts an edge; if it is smaller than `low`, the two are swapped.

    Returns:
        Boolean edge map(s), shape (..., H, W).

    Raises:
        ValueError: If `gray` is not uint8 or has fewer than two axes, or a threshold is negative or not a number.
    """
    if gray.dtype != np.uint8 or gray.ndim < 2:
        raise ValueError(
            f"Expected uint8 gray pictures of shape (..., H, W), got {gray.dtype} of shape {gray.shape}; "
            "convert the picture to 8-bit gray first."
        )
    if not (low >= 0 and high >= 0):
        raise ValueError(
            f"Edge thresholds must be numbers of 0 or more, got {low} and {high}; the usual ones are 100 and 200."
        )
    low, high = sorted((low, high))
    images = gray.reshape(-1, *gray.shape[-2:])
    result = np.zeros(images.shape, dtype=bool)
    if images.size:
        step = max(1, _PIXELS_AT_ONCE // images[0].size)
        for start in range(0, len(images), step):
            result[start : start + step] = _canny_batch(images[start : start + step], low, high)
    return result.reshape(gray.shape)


def _canny_batch(images: np.ndarray, low: float, high: float) -> np.ndarray:
    """Edges of a batch (N, H, W) that fits into memory; `low` ≤ `high`."""
    dx, dy = _sobel(images)
    # The squared length stays an integer, so the thresholds are squared and cut to integers as OpenCV does.
    magnitude = dx * dx + dy * dy
    low_squared, high_squared = (int(np.floor(min(value, _LARGEST_THRESHOLD) ** 2)) for value in (low, high))
    candidate = (magnitude > low_squared) & _is_ridge(dx, dy, magnitude)
    return _connected(candidate, candidate & (magnitude > high_squared))


def _sobel(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """3×3 Sobel derivatives (N, H, W) as int64, the border pixels repeated outside."""
    p = np.pad(images.astype(np.int64), ((0, 0), (1, 1), (1, 1)), mode="edge")
    columns = p[:, :, 2:] - p[:, :, :-2]
    rows = p[:, 2:] - p[:, :-2]
    dx = columns[:, :-2] + 2 * columns[:, 1:-1] + columns[:, 2:]
    dy = rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    return dx, dy


def _is_ridge(dx: np.ndarray, dy: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Non-maximum suppression: where the gradient is largest along its own direction, quantised to four directions.

    Ties are broken as in OpenCV: "greater than" before, "at least" after; strict on both sides of a diagonal.
    """
    height, width = magnitude.shape[1:]
    p = np.pad(magnitude, ((0, 0), (1, 1), (1, 1)))

    def neighbour(row: int, column: int) -> np.ndarray:
        return p[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    horizontal = (magnitude > neighbour(0, -1)) & (magnitude >= neighbour(0, 1))
    vertical = (magnitude > neighbour(-1, 0)) & (magnitude >= neighbour(1, 0))
    falling = (magnitude > neighbour(-1, -1)) & (magnitude > neighbour(1, 1))
    rising = (magnitude > neighbour(-1, 1)) & (magnitude > neighbour(1, -1))

    across = np.abs(dx)
    down = np.abs(dy) << _FIXED_POINT
    tan_22 = across * _TAN_22
    tan_67 = tan_22 + (across << (_FIXED_POINT + 1))  # tan 67.5° = tan 22.5° + 2
    diagonal = np.where((dx < 0) != (dy < 0), rising, falling)
    return np.where(down < tan_22, horizontal, np.where(down > tan_67, vertical, diagonal))


def _connected(candidate: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Hysteresis: the candidates (N, H, W) linked to a seed through eight-connected candidates."""
    # One ring of empty pixels around every picture lets neighbours be plain offsets into the flat array.
    open_ = np.pad(candidate & ~seed, ((0, 0), (1, 1), (1, 1)))
    linked = np.pad(seed, ((0, 0), (1, 1), (1, 1)))
    stride = linked.shape[2]
    offsets = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])
    open_flat, linked_flat = open_.reshape(-1), linked.reshape(-1)
    frontier = np.flatnonzero(linked_flat)
    while frontier.size:
        reached = (frontier[:, None] + offsets).reshape(-1)
        frontier = np.unique(reached[open_flat[reached]])
        open_flat[frontier] = False
        linked_flat[frontier] = True
    return linked[:, 1:-1, 1:-1]


def edges(image: np.ndarray, low: float = LOW_THRESHOLD, high: float = HIGH_THRESHOLD) -> np.ndarray:
    """Edges of colour pictures: Canny on their gray values.

    Args:
        image: uint8 picture(s), shape (..., H, W, 3).
        low: See `canny`.
        high: See `canny`.

    Returns:
        uint8, shape (..., H, W), 1 on the edges, else 0.

    Raises:
        ValueError: If `image` is not an RGB picture, or a threshold is negative.
    """
    return canny(rgb_to_gray(image), low, high).astype(np.uint8)


def read_sketch(
    image: Tensor,
    size: int,
    source: SketchSource | str = SketchSource.EDGES,
    low: float = LOW_THRESHOLD,
    high: float = HIGH_THRESHOLD,
) -> Tensor:
    """Turn a picture or a drawing into a sketch map of an expert's size.

    Args:
        image: ComfyUI's IMAGE (B, H, W, C) or MASK (B, H, W), values 0…1.
        size: The expert's height and width in pixels.
        source: Whether to find the edges of a picture or take the strokes of a drawing; a `SketchSource` or its value.
        low: See `canny`; only for edges.
        high: See `canny`; only for edges.

    Returns:
        float32 (B, 1, size, size), 1 on the lines, else 0.

    Raises:
        ValueError: If the source is unknown, a threshold is negative, or the image cannot be one (see `read_image`).
    """
    try:
        source = SketchSource(source)
    except ValueError:
        choices = ", ".join(f'"{choice.value}"' for choice in SketchSource)
        raise ValueError(f'A sketch cannot be made from "{source}"; choose one of {choices}.') from None
    what = "picture" if source is SketchSource.EDGES else "drawing"
    values = read_image(image, what)
    if source is SketchSource.EDGES:
        # Resized before, not after: experts are trained on the edges of pictures of their own size.
        picture = rearrange(fit(values.expand(-1, 3, -1, -1), size, what), "b c h w -> b h w c")
        pixels = (picture.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).numpy()
        lines = torch.from_numpy(edges(pixels, low, high)).to(image.device, torch.float32)
        return rearrange(lines, "b h w -> b 1 h w")
    light = values.mean(1, keepdim=True)
    return _strokes(1 - light if source is SketchSource.DARK_ON_LIGHT else light, size)


def _strokes(ink: Tensor, size: int) -> Tensor:
    """Binary lines (B, 1, size, size) from ink (B, 1, H, W), both 1 on the strokes; thin strokes survive shrinking."""
    least, most = ink.amin((2, 3), keepdim=True), ink.amax((2, 3), keepdim=True)
    stroke = (ink > (least + most) / 2) & (most - least > _LEAST_CONTRAST)
    coverage = fit(stroke.float(), size, "drawing")
    # A stroke thinner than one of the expert's pixels never covers half of it: compare with typical coverage instead.
    lines = torch.zeros_like(coverage)
    for line, row in zip(lines, coverage, strict=True):
        touched = row[row > 0]
        if touched.numel():
            line.copy_(row >= touched.quantile(0.75) / 2)
    return lines
