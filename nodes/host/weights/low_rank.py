"""LoRAs added to a layer's output: y = W x + up(down(x))."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.ops
import torch
import torch.nn.functional as F
from comfy.weight_adapter import LoRAAdapter
from torch import Tensor, nn

from ..comfyui.cores import outside_memory_graph
from .patched_pass import Patch, PatchedPass, float_type

_CONVOLUTIONS = {nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d, nn.Conv3d: F.conv3d}


@dataclass(eq=False, repr=False)
class LowRank:
    """Adds the LoRAs of one MODEL to rows of a linear or convolutional layer's output.

    Several LoRAs on one weight become one of the summed rank. They are cast once per device and dtype of the input.

    Attributes:
        shape: Shape of the layer's weight.
        groups: Groups of a convolution; 1 of other layers.
        weight_patches: ComfyUI's patches of its weight, all of them plain LoRAs, see `of`.
        bias_patches: Patches of its bias, all plain differences.
        fallback: Serves calls with more arguments than the input, which may change the layer's computation.
    """

    shape: tuple[int, ...]
    groups: int
    weight_patches: Sequence[Patch]
    bias_patches: Sequence[Patch]
    fallback: PatchedPass

    def __post_init__(self) -> None:
        self._kept: dict[tuple, tuple[Tensor | None, ...]] = {}

    @classmethod
    def of(cls, module: nn.Module, patches: Mapping[str, Sequence[Patch]], fallback: PatchedPass) -> LowRank | None:
        """The patches as LoRAs and differences; None where any is of another kind, or the layer is.

        Args:
            module: The layer.
            patches: ComfyUI's patches by the name of the parameter, "weight" or "bias".
            fallback: The same patches, applied to the weights.
        """
        weight_patches, bias_patches = patches.get("weight", ()), patches.get("bias", ())
        if not is_linear(module) and convolution_of(module) is None:
            return None
        if getattr(module, "pre_quant_scale", None) is not None:  # the layer scales its input before the weight
            return None
        shape, groups = shape_of(module), getattr(module, "groups", 1)
        of_this_form = all(_is_lora(patch, shape, groups) for patch in weight_patches) and all(
            _is_difference(patch, shape[0]) for patch in bias_patches
        )
        return cls(shape, groups, weight_patches, bias_patches, fallback) if of_this_form else None

    def nbytes(self, dtype: torch.dtype) -> int:
        """Bytes that it keeps during a run, for inputs of this dtype."""
        size = sum(self._rank(patch) * (self.shape[0] + math.prod(self.shape[1:])) for patch in self.weight_patches)
        return dtype.itemsize * (size + (self.shape[0] if self.bias_patches else 0))

    def add(self, module: Any, args: tuple, kwargs: dict[str, Any], output: Tensor, rows: slice) -> Tensor:
        """Add to rows of a layer's output, in place.

        Args:
            module: The layer.
            args: Arguments of its call, the input first, shape (N, …).
            kwargs: Its named arguments.
            output: Its output, shape (N, …).
            rows: This MODEL's rows.

        Returns:
            The output.
        """
        if kwargs or len(args) > 1:
            return self.fallback.add(module, args, kwargs, output, rows)
        x, mine = args[0][rows], output[rows]
        down, up, bias = self._factors(x.device, x.dtype)
        is_convolution = convolution_of(module) is not None
        if bias is not None:
            mine += bias.reshape(-1, *[1] * (len(self.shape) - 2)) if is_convolution else bias
        if down is None or up is None:
            return output
        if mine.is_contiguous() and not is_convolution:  # without a copy of the output
            mine.view(-1, len(up)).addmm_(F.linear(x, down).reshape(-1, len(down)), up.t())
        else:
            mine += low_rank_change(module, x, down, up)
        return output

    def _factors(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor | None, ...]:
        """`down`, shape (R, in, …) per group, `up`, shape (out, R, …), and the change of the bias, shape (out)."""
        key = device, dtype
        if key not in self._kept:
            with outside_memory_graph():
                self._kept[key] = self._cast(device, dtype)
        return self._kept[key]

    def _cast(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor | None, ...]:
        down = up = bias = None
        exact = float_type(dtype)
        if self.weight_patches:
            factors = [self._down_and_up(patch, device, exact) for patch in self.weight_patches]
            down, up = torch.cat([down for down, _ in factors]), torch.cat([up for _, up in factors], dim=1)
            down = down.repeat(self.groups, *[1] * (down.ndim - 1)).to(dtype)
            up = up.reshape(*up.shape, *[1] * (down.ndim - 2)).to(dtype)
        if self.bias_patches:
            bias = sum(patch[0] * patch[1][1][0].to(device, exact) for patch in self.bias_patches).to(dtype)
        return down, up, bias

    def _down_and_up(self, patch: Patch, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """One LoRA's down, shape (r, in, …), and up, shape (out, r), with its strength; 0 outside its slice."""
        strength, adapter, _, offset, _ = patch
        up, down, alpha, mid, *_ = adapter.weights
        shape, rank = _sliced(self.shape, offset), self._rank(patch)
        up, down = (factor.to(device, dtype).flatten(1) for factor in (up, down))
        if mid is not None:
            down = torch.einsum("rshw,si->rihw", mid.to(device, dtype), down)
        down = down.reshape(rank, *shape[1:])
        up = up * (strength * (1.0 if alpha is None else alpha / rank))
        if offset is not None:
            dim, start, length = offset
            if dim == 0:
                up = F.pad(up, (0, 0, start, self.shape[0] - start - length))
            else:
                around = (start, self.shape[1] - start - length)
                down = F.pad(down, (0, 0) * (down.ndim - 2) + around)
        return down, up

    @staticmethod
    def _rank(patch: Patch) -> int:
        return patch[1].weights[1].shape[0]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer of ComfyUI's."""
    return isinstance(module, comfy.ops.CastWeightBiasOp) and hasattr(module, "in_features")


def shape_of(module: Any) -> tuple[int, ...]:
    """Shape of the weight, which a quantized layer may store packed."""
    return (module.out_features, module.in_features) if is_linear(module) else tuple(module.weight.shape)


def convolution_of(module: nn.Module) -> Any:
    """The function of a convolutional layer; None of any other."""
    return next((function for kind, function in _CONVOLUTIONS.items() if isinstance(module, kind)), None)


def low_rank_change(module: Any, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """What a linear or convolutional layer's output gains of its input: up(down(x)).

    Args:
        module: The layer.
        x: Its input.
        down: Shape (R, in, …), of a convolution with groups for each of these.
        up: Shape (out, R, …).
    """
    convolution = convolution_of(module)
    if convolution is None:
        return F.linear(F.linear(x, down), up)
    changed: Tensor = convolution(module._conv_forward(x, down, None), up, groups=module.groups)
    return changed


def _is_lora(patch: Patch, shape: tuple[int, ...], groups: int) -> bool:
    """Whether a patch of a weight of this shape is a plain LoRA: up, down and, at most, Tucker's mid."""
    _, adapter, strength_of_weight, offset, function = patch
    if type(adapter) is not LoRAAdapter or strength_of_weight != 1.0 or function is not None:
        return False
    if offset is not None and (groups > 1 or offset[0] > 1):
        return False
    up, down, _, mid, dora_scale, reshape = adapter.weights
    if dora_scale is not None or reshape is not None:
        return False
    rank, (out, *rest) = down.shape[0], _sliced(shape, offset)
    if up.flatten(1).shape != (out, rank):
        return False
    if mid is None:
        return down[0].numel() == math.prod(rest)
    return len(shape) == 4 and tuple(mid.shape) == (rank, rank, *rest[1:]) and down[0].numel() == rest[0]


def _is_difference(patch: Patch, size: int) -> bool:
    """Whether a patch is a vector of this size that is added to a bias."""
    _, value, strength_of_weight, offset, function = patch
    if strength_of_weight != 1.0 or offset is not None or function is not None or not isinstance(value, tuple):
        return False
    return len(value) == 2 and value[0] == "diff" and len(value[1]) == 1 and value[1][0].shape == (size,)


def _sliced(shape: tuple[int, ...], offset: tuple[int, int, int] | None) -> tuple[int, ...]:
    if offset is None:
        return shape
    return *shape[: offset[0]], offset[2], *shape[offset[0] + 1 :]
