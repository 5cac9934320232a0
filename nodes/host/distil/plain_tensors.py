"""Tensors that a gradient can be computed by.

ComfyUI's nodes run in inference mode, and autograd can keep no tensor that was made there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def plain(value: Any) -> Any:
    """A CONDITIONING, or any part of one, with copies of the tensors that were made in inference mode."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if type(value) is dict:
        return {key: plain(each) for key, each in value.items()}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


@contextmanager
def plain_weights(network: nn.Module) -> Iterator[None]:
    """While it lasts, a network has its weights and buffers as tensors that were not made in inference mode.

    They share the memory of its own, which it gets back. Nothing may be loaded meanwhile.
    """
    replaced: list[tuple[dict[str, Any], str, Tensor]] = []
    for module in network.modules():
        holding: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for held in holding:
            for name, tensor in held.items():
                if type(tensor) in (Tensor, nn.Parameter) and tensor.is_inference():
                    replaced.append((held, name, tensor))
                    held[name] = _sharing(tensor)
    try:
        yield
    finally:
        for held, name, tensor in replaced:
            held[name] = tensor


def _sharing(tensor: Tensor) -> Tensor:
    """A tensor of the same memory, with the attributes by which ComfyUI knows the dtype of a weight."""
    same = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    same.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    if isinstance(tensor, nn.Parameter):
        same = nn.Parameter(same, requires_grad=False)
    vars(same).update(vars(tensor))
    return same
