"""Tensors as buffers with a dtype and a shape, which travel between ComfyUI and workers."""

from __future__ import annotations

import math
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool)
}


class Buffer(TypedDict):
    """A tensor as bytes.

    Attributes:
        dtype: Name of its dtype, such as "float32".
        shape: Shape of the tensor.
        data: Its bytes, row by row.
    """

    dtype: str
    shape: list[int]
    data: np.ndarray


def to_buffer(tensor: Tensor) -> Buffer:
    """Copy a tensor from any device into bytes."""
    here = tensor.detach().to("cpu").contiguous()
    data = here.reshape(-1).view(torch.uint8).numpy()
    return {"dtype": str(here.dtype).removeprefix("torch."), "shape": list(here.shape), "data": data}


def to_tensor(buffer: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """The tensor of a buffer, on the CPU, with memory of its own.

    Args:
        buffer: A received value.
        shape: Required shape; None for any.

    Raises:
        ValueError: If the value is no tensor, has a dtype that isn't sent, or another shape.
    """
    if not isinstance(buffer, dict):
        raise ValueError(f"Expected a tensor and got {type(buffer).__name__}; use the same version of the pack.")
    known, data, sizes = _DTYPES.get(str(buffer.get("dtype"))), buffer.get("data"), buffer.get("shape")
    whole = isinstance(sizes, list) and all(type(size) is int and size >= 0 for size in sizes)
    if known is None or sizes is None or not whole or not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise ValueError("Expected a tensor and got something else; use the same version of the pack on both machines.")
    if shape is not None and tuple(sizes) != tuple(shape):
        raise ValueError(f"Expected a tensor of shape {tuple(shape)} and got {tuple(sizes)}; try again.")
    if data.ndim != 1 or data.size != math.prod(sizes) * known.itemsize:
        raise ValueError(f"Expected {math.prod(sizes)} values of {known} and got {data.size} bytes; try again.")
    return torch.from_numpy(data.copy()).view(known).reshape(sizes) if data.size else torch.empty(sizes, dtype=known)
