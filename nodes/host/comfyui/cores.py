"""ComfyUI's own ways to keep, patch and fetch weights, and layers of the core that fetch them so.

What newer versions add is known by its features.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import comfy.lora
import comfy.model_patcher
import comfy.model_prefetch
import comfy.ops
import torch.nn.functional as F
from comfy.model_patcher import LowVramPatch, ModelPatcher, get_key_weight
from torch import Tensor, nn

from ....mcdm_core.networks.blocks import GroupNorm32


def patch_in_use(patcher: ModelPatcher, key: str) -> LowVramPatch:
    """The function by which ComfyUI patches, at each use, a weight that it has not patched in memory."""
    if patcher.is_dynamic():
        patch = LowVramPatch(key, patcher.patches)
        patch._pin_state = patcher.model.dynamic_pins[patcher.load_device]  # where it may pin the patch for the GPU
        return patch
    _, set_weight, convert_weight = get_key_weight(patcher.model, key)
    return LowVramPatch(key, patcher.patches, convert_weight, set_weight)


def resizes(patcher: ModelPatcher, key: str) -> bool:
    """Whether a dynamic MODEL's patches change the shape of a weight that is not yet patched."""
    weight, _, _ = get_key_weight(patcher.model, key)
    return comfy.lora.calculate_shape(patcher.patches[key], weight, key) != weight.shape


@contextmanager
def fetched(layer: nn.Module, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Within the block, the patched weight and bias of a layer that has both, on the device and of the dtype of x."""
    weight, bias, stream = comfy.ops.cast_bias_weight(layer, x, offloadable=True)
    try:
        yield weight, bias
    finally:
        comfy.ops.uncast_bias_weight(layer, weight, bias, stream)  # else ComfyUI could never take their page away


def drop_prefetched(network: nn.Module) -> None:
    """Release the weights that ComfyUI has prefetched for a pass that ended early; till then, pages are pinned.

    Only this network's: ComfyUI's queues serve all threads, and another thread may be in the middle of a pass.

    Args:
        network: The network whose pass ended; no other thread may be using it.
    """
    for module in network.modules():
        comfy.model_prefetch.cleanup_prefetched_modules(module, [module])
    end_memory_graph()


def outside_memory_graph() -> AbstractContextManager:
    """A context for tensors that are made in the middle of a pass and kept for later ones.

    ComfyUI after 0.33.0 records the allocations of a pass, and reuses the same memory in the next pass.
    """
    context: AbstractContextManager = getattr(comfy.model_prefetch, "pause_malloc_graph", nullcontext)()
    return context


def end_memory_graph() -> None:
    """Drop newer ComfyUI's record of the calling thread's allocations, which it keeps by the number of the thread."""
    getattr(comfy.model_prefetch, "cleanup_malloc_graph", lambda: None)()


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
    """Let ComfyUI keep parts of an expert's network off the GPU.

    ComfyUI offloads layer by layer, but only layers that fetch their own weights (`comfy.ops`). The core's network is
    plain torch, so each of its layers gets a class that can fetch; its parameters and its arithmetic stay as they are.

    Args:
        network: The network, whose layers' classes are changed in place.

    Returns:
        The same network.
    """
    for layer in network.modules():
        offloadable = _OFFLOADABLE.get(type(layer))
        if offloadable is not None:
            layer.__class__ = offloadable
            if isinstance(layer, nn.Embedding):
                layer.bias = None  # type: ignore[assignment] # ComfyUI's casting looks for it
    return network
