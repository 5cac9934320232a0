"""What differs between the versions of ComfyUI that this pack runs in; told by what they have, not by their number."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.ops
from comfy.model_patcher import LowVramPatch, ModelPatcher, get_key_weight
from torch import Tensor, nn

# Newer ComfyUI keeps weights where they were read and fetches each through pages as it is used ("dynamic VRAM").
_ModelPatcherDynamic: type[ModelPatcher] | None = getattr(comfy.model_patcher, "ModelPatcherDynamic", None)


def is_dynamic(patcher: ModelPatcher) -> bool:
    """Whether a MODEL's weights are fetched as they are used."""
    return _ModelPatcherDynamic is not None and patcher.is_dynamic()


def cores_own_kind(patcher: ModelPatcher) -> type[ModelPatcher]:
    """Which of ComfyUI's own classes a MODEL is one of, or derives from."""
    return _ModelPatcherDynamic if _ModelPatcherDynamic is not None and is_dynamic(patcher) else ModelPatcher


def kind_of_loaders(disable_dynamic: bool) -> type[ModelPatcher]:
    """The class that ComfyUI's loaders make MODELs of, as it was started."""
    return ModelPatcher if disable_dynamic else getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)


def loaded_memory(model: Any) -> int:
    """Bytes of device memory that a partly loaded network takes.

    Newer ComfyUI keeps room there for the weights that it left out, which are cast as they are used.
    """
    return model.model_loaded_weight_memory + getattr(model, "model_offload_buffer_memory", 0)


def patch_in_use(patcher: ModelPatcher, key: str) -> LowVramPatch:
    """What ComfyUI does, each time it is used, to a weight that it has not patched where it lies."""
    if is_dynamic(patcher):
        patch = LowVramPatch(key, patcher.patches)
        patch._pin_state = patcher.model.dynamic_pins[patcher.load_device]  # where it may keep the patch for the GPU
        return patch
    _, set_weight, convert_weight = get_key_weight(patcher.model, key)
    return LowVramPatch(key, patcher.patches, convert_weight, set_weight)


def resizes(patcher: ModelPatcher, key: str) -> bool:
    """Whether a dynamic MODEL's patches change the shape of a weight that is not patched now."""
    weight, _, _ = get_key_weight(patcher.model, key)
    return comfy.lora.calculate_shape(patcher.patches[key], weight, key) != weight.shape


@contextmanager
def fetched(layer: nn.Module, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The weight and the bias of a layer that has both, patched, where x is and of its dtype, for the block."""
    if not hasattr(comfy.ops, "uncast_bias_weight"):
        yield comfy.ops.cast_bias_weight(layer, x)
        return
    weight, bias, stream = comfy.ops.cast_bias_weight(layer, x, offloadable=True)
    try:
        yield weight, bias
    finally:
        comfy.ops.uncast_bias_weight(layer, weight, bias, stream)  # else their page could never be taken away


def drop_prefetched(network: nn.Module) -> None:
    """Give back what newer ComfyUI has fetched ahead for a pass that ends early: its pages are pinned until then.

    Of this network alone: ComfyUI's queues are those of all threads, and others may be in the middle of a pass.

    Args:
        network: The network that was asked; no other thread asks it.
    """
    if _prefetches():
        import comfy.model_prefetch

        give_back = comfy.model_prefetch.cleanup_prefetched_modules
        takes_owner = len(inspect.signature(give_back).parameters) > 1  # and gives back what it holds for the graph
        for module in network.modules():
            give_back(*([module] if takes_owner else []), [module])
    end_memory_graph()


def outside_memory_graph() -> AbstractContextManager:
    """Around what is made in the middle of a pass and kept for the next.

    Newer ComfyUI records what a pass allocates, and hands the same memory out anew in the next pass.
    """
    pause = _of_newer_prefetching("pause_malloc_graph")
    return nullcontext() if pause is None else pause()


def end_memory_graph() -> None:
    """End what newer ComfyUI has recorded of the calling thread's passes, which it keeps under the thread's number."""
    end = _of_newer_prefetching("cleanup_malloc_graph")
    if end is not None:
        end()


def _prefetches() -> bool:
    """Whether this ComfyUI has the module that fetches ahead."""
    return importlib.util.find_spec("comfy.model_prefetch") is not None


def _of_newer_prefetching(name: str) -> Callable[..., Any] | None:
    """A function that this module has in ComfyUI after 0.33.0, None where it lacks it."""
    if not _prefetches():
        return None
    import comfy.model_prefetch

    return getattr(comfy.model_prefetch, name, None)
