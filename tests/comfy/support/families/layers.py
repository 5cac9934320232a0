"""A network of one part of a transformer, in which a test decides whether a layer is called, read or skipped."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import comfy.model_patcher
import comfy.ops
import torch
from comfy.latent_formats import SD15
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..oracle.networks import fill
from ..places import HERE, OFFLOADED, around

WIDTH, INNER = 128, 256  # large enough, above 16 kB, for dynamic VRAM to fetch int8 layers through pages


def feed_forward(family: str) -> Callable[[Any], nn.Module]:
    """Core's part of a family that passes a layer to `comfy.ops.linear_input_act`, which may read but not call it.

    Args:
        family: A key of `READ`.
    """

    def part(ops: Any) -> nn.Module:
        ldm = importlib.import_module(f"comfy.ldm.{READ[family][0]}")
        if family == "LTX":
            return ldm.FeedForward(WIDTH, WIDTH, mult=INNER // WIDTH, operations=ops)
        if family == "Wan":
            activation = nn.GELU(approximate="tanh")
            return ldm.WanFeedForward(ops.Linear(WIDTH, INNER), activation, ops.Linear(INNER, WIDTH))
        if family == "H3":
            return ldm.MLP(WIDTH, INNER, operations=ops)
        return ldm.RVQMLP(WIDTH, INNER, True, None, None, ops)

    return part


# The modules of these parts, and their layers that are read.
READ = {
    "LTX": ("lightricks.model", "net.2"),
    "Wan": ("wan.model", "2"),
    "H3": ("minimax.model", "fc2"),
    "music": ("minimax_music.ar", "down_proj"),
}


class Around(nn.Module):
    """A network for latents of 8×12 that applies a part, as a residual, to three tokens of each row.

    Args:
        part: Maps tokens, shape (B, 3, WIDTH), to tokens of the same shape.
    """

    dtype = torch.float32

    def __init__(self, part: nn.Module):
        super().__init__()
        self.part = part

    def forward(self, x: Tensor, t: Tensor, context: Any = None, **kwargs: Any) -> Tensor:
        tokens = x.reshape(len(x), -1, WIDTH)
        return (tokens + self.part(tokens + context.mean((1, 2))[:, None, None])).reshape(x.shape)


def model_of(part: Callable[[Any], nn.Module], seed: int, int8: bool = False) -> ModelPatcher:
    """A MODEL of a network around a part, with random weights.

    Args:
        part: Makes the part from ComfyUI's operations.
        seed: Seed of the weights.
        int8: Whether to quantize the linear layers as ComfyUI does.
    """
    network = Around(part(comfy.ops.manual_cast))
    fill(network, seed)
    if int8:
        weights = quantized(network)
        network = Around(part(comfy.ops.mixed_precision_ops(compute_dtype=torch.float32)))
        network.load_state_dict(weights)
    patcher = comfy.model_patcher.CoreModelPatcher
    return patcher(around(network, SD15), load_device=HERE, offload_device=OFFLOADED)


def quantized(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network, with linear layers in int8 as checkpoints store them."""
    told = torch.tensor(list(json.dumps({"format": "int8_tensorwise"}).encode()), dtype=torch.uint8)
    weights = dict(network.state_dict())
    for path, layer in network.named_modules():
        if isinstance(layer, comfy.ops.CastWeightBiasOp) and hasattr(layer, "in_features"):
            weight = layer.weight.detach()
            scale = weight.abs().max() / 127
            stored = {"weight": (weight / scale).round().to(torch.int8), "weight_scale": scale, "comfy_quant": told}
            weights |= {f"{path}.{name}": value for name, value in stored.items()}
    return weights
