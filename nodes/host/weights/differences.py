"""Differences between MODELs that were cloned from one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import comfy.model_management
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from torch import nn

from ..comfyui.cores import comfyui_class_of


def memory_of_clones(patchers: Sequence[ModelPatcher]) -> int:
    """Bytes that exchanging the weights of MODELs takes beside their network: those of the weights that differ.

    Args:
        patchers: The MODELs of one network, the loaded one first.
    """
    loaded, size = patchers[0], 0
    if loaded.is_dynamic():
        return 0  # patches are applied as weights are fetched
    others: list[ModelPatcher] = []
    weights = dict(loaded.model.named_parameters())
    for patcher in patchers[1:]:
        if not any(same_weights(patcher, other) for other in (loaded, *others)):
            others.append(patcher)
            keys = (changed_keys(loaded) | changed_keys(patcher)) & weights.keys()
            size += sum(weights[key].nbytes for key in keys)
    return size


def same_weights(first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether two MODELs have one network, with the same weights and objects in it."""
    if first is second:
        return True
    same_patches = first.patches_uuid == second.patches_uuid or not (first.patches or second.patches)
    return same_patches and same_but_for_patches(first, second)


def same_but_for_patches(first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether two MODELs have one network and differ inside it only in patches of weights."""
    # ComfyUI's own comparison also compares wrappers, and fails if only one MODEL has some.
    return (
        first.model is second.model
        and first.callbacks == second.callbacks
        and first.attachments.keys() == second.attachments.keys()
        and first.additional_models.keys() == second.additional_models.keys()
        and not (first.hook_patches or second.hook_patches)
        and same_objects(first.object_patches, second.object_patches)
        and same_objects(first.injections, second.injections)
        and first.weight_wrapper_patches == second.weight_wrapper_patches
    )


def same_patches(first: Sequence, second: Sequence) -> bool:
    """Whether two lists hold the same patches in the same order, as those of clones do."""
    return len(first) == len(second) and all(one is other for one, other in zip(first, second, strict=True))


def changed_keys(patcher: ModelPatcher) -> set[str]:
    """Names of the weights that a MODEL patches or hooks."""
    return patcher.patches.keys() | hooked_keys(patcher)


def hooked_keys(patcher: ModelPatcher) -> set[str]:
    """Names of the weights that hooks change while sampling."""
    return {key for patches in patcher.hook_patches.values() for key in patches}


def why_reloaded(patcher: ModelPatcher) -> str | None:
    """Why ComfyUI has to load a MODEL anew, as the predicate of a sentence about it; None where it need not."""
    own, comfyuis = type(patcher), comfyui_class_of(patcher)
    layers = replaced_layers(patcher)
    if own.load is not comfyuis.load or own.patch_weight_to_device is not comfyuis.patch_weight_to_device:
        return "comes from a node whose MODELs load in a way of their own"
    if patcher.weight_wrapper_patches:
        return "wraps its weights"
    if patcher.get_all_callbacks(CallbacksMP.ON_LOAD):
        return "has a node's work done at loading"
    return f"has a node's layers in place of {', '.join(layers)}" if layers else None


def replaced_layers(patcher: ModelPatcher) -> list[str]:
    """Names of the parts of the network that a MODEL replaces by modules with weights."""
    objects = patcher.object_patches.items()
    return [name for name, value in objects if isinstance(value, nn.Module) and any(True for _ in value.parameters())]


def same_objects(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two MODELs put the same objects under the same names."""
    return first.keys() == second.keys() and all(first[key] is second[key] for key in first)


@contextmanager
def without_injections(patchers: Sequence[ModelPatcher]) -> Iterator[None]:
    """Within the block, layers injected by a loaded clone are taken out of the MODELs' networks.

    Injected layers rename the layers after them, and patches find layers by name.
    """
    networks = {id(patcher.model) for patcher in patchers}
    with ExitStack() as stack:
        for loaded in comfy.model_management.loaded_models():
            if loaded is not None and id(loaded.model) in networks:
                stack.enter_context(loaded.use_ejected())
        yield
