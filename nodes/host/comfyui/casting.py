"""Let ComfyUI keep parts of an expert's network off the GPU.

ComfyUI offloads layer by layer, but only layers that fetch their own weights (`comfy.ops`). The core's network is plain
torch, so each of its layers gets a class that can fetch; its parameters and its arithmetic stay as they are.
"""

from __future__ import annotations

import comfy.ops
import torch.nn.functional as F
from torch import Tensor, nn

from ....mcdm_core.networks.blocks import GroupNorm32
from .cores import fetched


class OffloadableGroupNorm32(GroupNorm32, comfy.ops.CastWeightBiasOp):
    """GroupNorm32 that fetches its weights when ComfyUI keeps them elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x of shape (B, C, …) in float32."""
        if not (self.comfy_cast_weights or self.weight_function or self.bias_function):
            return super().forward(x)
        with fetched(self, x) as (weight, bias):
            return F.group_norm(x.float(), self.num_groups, weight.float(), bias.float(), self.eps).to(x.dtype)


_OFFLOADABLE: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: comfy.ops.disable_weight_init.Linear,
    nn.Conv1d: comfy.ops.disable_weight_init.Conv1d,
    nn.Conv2d: comfy.ops.disable_weight_init.Conv2d,
    nn.Embedding: comfy.ops.disable_weight_init.Embedding,
    GroupNorm32: OffloadableGroupNorm32,
}


def make_offloadable(network: nn.Module) -> nn.Module:
    """Change the class of every layer that has weights, in place, and return the network."""
    for layer in network.modules():
        offloadable = _OFFLOADABLE.get(type(layer))
        if offloadable is not None:
            layer.__class__ = offloadable
            if isinstance(layer, nn.Embedding):
                layer.bias = None  # type: ignore[assignment] # ComfyUI's casting looks for it
    return network
