"""The student's layers while it learns: each adds a LoRA to its output, and its own weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ....mcdm_core.networks.low_rank import LowRank
from ..comfyui.network_calls import holding
from ..weights.low_rank import convolution_of, is_linear, low_rank_change, shape_of

_NETWORK = "diffusion_model"  # ComfyUI's name of it, with which names of its layers begin in a LoRA's file


class Factors(nn.Module):
    """What learns: the factors of each layer's change.

    Args:
        shapes: The shape of the weight of each layer, by its name in the MODEL.
        rank: Rank of the changes.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]], rank: int):
        super().__init__()
        self.layers = [*shapes]
        self.changes = nn.ModuleList(LowRank(torch.empty(shape, device="meta"), rank) for shape in shapes.values())

    def keep(self, layers: Sequence[str]) -> None:
        """Drop the changes of all other layers."""
        kept = [(name, change) for name, change in self.named() if name in layers]
        self.layers = [name for name, _ in kept]
        self.changes = nn.ModuleList(change for _, change in kept)

    def named(self) -> Iterator[tuple[str, LowRank]]:
        """The changes by the names of their layers."""
        for name, change in zip(self.layers, self.changes, strict=True):
            assert isinstance(change, LowRank)
            yield name, change

    @torch.no_grad()
    def tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """The LoRA, as core's Save LoRA and Load LoRA know it, on the CPU."""
        found: dict[str, Tensor] = {}
        for name, change in self.named():
            for part, factor in (("lora_up", change.up), ("lora_down", change.down)):
                found[f"{name}.{part}.weight"] = factor.detach().to("cpu", dtype, copy=True)
            found[f"{name}.alpha"] = torch.tensor(float(len(change.down)))
        return found


def shapes_of(patcher: ModelPatcher) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that a LoRA changes, by the names of their layers: linear ones and convolutions.

    Raises:
        ValueError: If a layer is quantized, so that no gradient passes it as it computes.
    """
    shapes = {}
    for name, module in getattr(patcher.model, _NETWORK).named_modules(prefix=_NETWORK):
        weight = getattr(module, "weight", None)
        if isinstance(module, comfy.ops.CastWeightBiasOp) and isinstance(weight, Tensor):
            if isinstance(weight, comfy.ops.QuantizedTensor):
                raise ValueError(
                    f"Expected a student of plain weights, and those of {name} are quantized, so that nothing is "
                    "learned by them; load its file in full or half precision, or in fp8 without scales."
                )
            if is_linear(module) or convolution_of(module) is not None:
                shapes[name] = shape_of(module)
    return shapes


class LearningLayers:
    """Lets the layers of a network add what is being learned.

    Autograd keeps of each layer its input alone: the weights are fetched again for the gradient. So they need not stay
    on the device between the two, and a page that ComfyUI takes away meanwhile does no harm.

    Args:
        network: The MODEL's network.
        called: Gets the names of the layers that are called.
    """

    def __init__(self, network: nn.Module, called: set[str]):
        self._network = network
        self._called = called
        self._changes: dict[str, LowRank] = {}

    def learn(self, factors: Factors) -> None:
        """Add these changes from now on."""
        self._changes = dict(factors.named())

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While it lasts, the layers add changes to their outputs."""
        with ExitStack() as stack:
            for name, module in getattr(self._network, _NETWORK).named_modules(prefix=_NETWORK):
                if isinstance(module, comfy.ops.CastWeightBiasOp):
                    forward = partial(self._forward, name, module, module.forward)
                    stack.enter_context(holding(vars(module), {"forward": forward}))
            yield

    def _forward(self, name: str, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not args or not isinstance(args[0], Tensor):
            return forward(*args, **kwargs)
        x, *rest = args
        learns = name in self._changes
        # Families add to the stream that a norm has read, in place.
        kept = x if learns else x.clone()
        output = _Fetched.apply(kept, lambda given: forward(given, *rest, **kwargs))
        if not learns:
            return output
        self._called.add(name)
        return output + _change(module, x, self._changes[name]).to(output.dtype)


class _Fetched(torch.autograd.Function):
    """A layer's output, computed again for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.layer = layer
        return layer(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            output = ctx.layer(x)
        if not output.requires_grad:
            return None, None
        (found,) = torch.autograd.grad(output, x, gradient.to(output.dtype))
        return found, None


def _change(module: Any, x: Tensor, change: LowRank) -> Tensor:
    """What a layer's output gains: up(down(x))."""
    down, up = change.down.to(x.dtype), change.up.to(x.dtype)
    if convolution_of(module) is not None:
        down = down.repeat(module.groups, *[1] * (down.ndim - 1))
    return low_rank_change(module, x, down, up)
