"""Differences between MODELs cloned from one another: in weights, options, conditions and what ControlNets take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import comfy.model_management
import torch
from comfy.controlnet import ControlBase, ControlNet
from comfy.model_patcher import ModelPatcher, ModelPatcherDynamic
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor, nn

from ..chain.attachments import CFG_HOOKS, PREDICTING, wrappers_of
from ..chain.expert_chain import PRODUCT_KEY, WiredTerm
from ..comfyui.devices import with_index

_GUIDING = (*CFG_HOOKS, "disable_cfg1_optimization")


def memory_of_clones(patchers: Sequence[ModelPatcher]) -> int:
    """Bytes that exchanging the weights of MODELs takes beside their network: those of the weights that differ.

    Args:
        patchers: The MODELs of one network, the loaded one first.
    """
    loaded, size = patchers[0], 0
    if loaded.is_dynamic():
        return 0  # patches are applied as weights are fetched
    others: list[ModelPatcher] = []
    parameters = dict(loaded.model.named_parameters())
    for patcher in patchers[1:]:
        if not any(same_parameters(patcher, other) for other in (loaded, *others)):
            others.append(patcher)
            keys = (changed_keys(loaded) | changed_keys(patcher)) & parameters.keys()
            size += sum(parameters[key].nbytes for key in keys)
    return size


def same_parameters(first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether two MODELs have one network, with the same parameters and objects in it."""
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
    own, comfyuis = type(patcher), ModelPatcherDynamic if patcher.is_dynamic() else ModelPatcher
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


def same_options(first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether two MODELs have the same options and wrappers around their networks; hooks on guidance may differ.

    False where a node sets up state on either MODEL for each run, as EasyCache does with its cache.
    """
    both = first, second
    if any(key != PRODUCT_KEY for each in both for _, key, _ in wrappers_of(each, WrappersMP.OUTER_SAMPLE)):
        return False
    options = ({name: value for name, value in each.model_options.items() if name not in _GUIDING} for each in both)
    wrappers = ({kind: each.wrappers.get(kind, {}) for kind in PREDICTING} for each in both)
    return alike(*options) and alike(*wrappers)


def alike(first: Any, second: Any) -> bool:
    """Whether a network predicts the same under two processed conditionings, or with two MODELs' options."""
    if first is second:
        return True
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and first.device == second.device and torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        keys = first.keys() - {"uuid"}
        return keys == second.keys() - {"uuid"} and all(alike(first[key], second[key]) for key in keys)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(alike(a, b) for a, b in zip(first, second, strict=True))
    if hasattr(first, "process_cond") and type(first) is type(second):
        return alike(first.cond, second.cond)
    if hasattr(first, "same_as") and type(first) is type(second):
        return first.same_as(second)
    return isinstance(first, (bool, int, float, str)) and type(first) is type(second) and first == second


def controlnets_of(expert: WiredTerm) -> Iterator[tuple[str, ControlBase]]:
    """The ControlNets of an expert's CONDITIONINGs, with those that they are chained to; each with the input's name."""
    for role, conditioning in expert.conditionings.items():
        for _, values in conditioning:
            control = values.get("control")
            while control is not None:
                yield role, control
                control = control.previous_controlnet


def copies_parameters(control: ControlBase) -> bool:
    """Whether a ControlNet copies parameters of the network that it steers, as a control LoRA does."""
    return type(control).pre_run not in (ControlBase.pre_run, ControlNet.pre_run)


def device_of_controlnet(control: ControlBase) -> torch.device:
    """The device of a ControlNet: ComfyUI loads all ControlNets to one device and never moves them."""
    named = getattr(control, "load_device", None) or getattr(control, "device", None)
    return with_index(named or comfy.model_management.get_torch_device())


def prepared_alike(control: ControlBase, first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether either MODEL prepares a ControlNet alike for a run: with one schedule and, if it copies any, weights."""
    model_samplings = [patcher.get_model_object("model_sampling") for patcher in (first, second)]
    return (
        first.model is second.model
        and model_samplings[0] is model_samplings[1]
        and (not copies_parameters(control) or same_parameters(first, second))
    )
