"""Which MODELs of a run can run in one batch: those that predict the same, and those that differ in adapters alone.

Adapters are LoRAs and the like, on one network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import comfy.ops
import comfy.utils
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP

from ..chain.conditioning_hooks import has_hooks
from ..chain.expert_chain import Experts, WiredTerm
from ..comfyui.devices import copies_of
from .differences import (
    controlnets_of,
    copies_parameters,
    replaced_layers,
    same_but_for_patches,
    same_options,
    same_parameters,
    same_patches,
    without_injections,
)
from .low_rank import LowRank
from .patched_pass import Patch, PatchedPass
from .row_adapters import RowAdapters
from .watched_layers import Addition

Patches = dict[str, list[Patch]]

_COMPILED = "torch.compile"  # ComfyUI's key of the wrapper that puts compiled modules in


def adapter_groups(experts: Experts) -> list[RowAdapters]:
    """What serves each group of at least two MODELs of one network that differ in adapters alone, in the chain's order.

    The weights of all other MODELs are exchanged.
    """
    apart = {expert.model for expert in experts if _needs_own_parameters(expert)}
    alike: list[list[ModelPatcher]] = []
    for patcher in dict.fromkeys(expert.model for expert in experts):
        if patcher not in apart and _is_fit(patcher):
            group = next((group for group in alike if _differ_in_patches(group[0], patcher)), None)
            if group is None:
                alike.append([patcher])
            else:
                group.append(patcher)
    with without_injections([expert.model for expert in experts]):
        return [group for group in map(_group, alike) if group is not None]


def stand_ins(experts: Experts) -> dict[ModelPatcher, ModelPatcher]:
    """The MODEL to ask in place of each: the first that gives the same predictions, so that both run in one batch."""
    hooked = {expert.model for expert in experts if has_hooks(expert)}
    found: dict[ModelPatcher, ModelPatcher] = {}
    for patcher in dict.fromkeys(expert.model for expert in experts):
        unhooked = (first for first in found.values() if not hooked & {first, patcher})
        alike = (first for first in unhooked if same_parameters(first, patcher) and same_options(first, patcher))
        found[patcher] = next(alike, patcher)
    return found


def _needs_own_parameters(expert: WiredTerm) -> bool:
    """Whether a hook or ControlNet in an expert's conditioning changes or copies the parameters of its MODEL."""
    return has_hooks(expert) or any(copies_parameters(control) for _, control in controlnets_of(expert))


def _is_fit(patcher: ModelPatcher) -> bool:
    """Whether only patches change the MODEL's weights, and no node wraps, compiles or replaces its layers."""
    compiled = any(_COMPILED in wrappers for wrappers in patcher.wrappers.values())
    return not (
        compiled
        or patcher.weight_wrapper_patches
        or any(patcher.injections.values())
        or patcher.get_all_callbacks(CallbacksMP.ON_LOAD)
        or copies_of(patcher)
        or replaced_layers(patcher)
    )


def _differ_in_patches(first: ModelPatcher, second: ModelPatcher) -> bool:
    same_casts = first.force_cast_weights == second.force_cast_weights
    return same_casts and same_but_for_patches(first, second) and same_options(first, second)


def _group(patchers: list[ModelPatcher]) -> RowAdapters | None:
    """What serves the MODELs whose adapters can be added row by row; None where no adapter is left to add."""
    while True:
        common = _common(patchers)
        attempts = {patcher: _additions(patcher, common) for patcher in patchers}
        additions = {patcher: by_layer for patcher, by_layer in attempts.items() if by_layer is not None}
        if len(additions) == len(patchers):
            break
        patchers = list(additions)  # fewer MODELs may have more patches in common
    base = next((each for each in _candidates(patchers) if _has_only(each, common)), None)
    return None if base is None or not any(additions.values()) else RowAdapters(base, additions)


def _common(patchers: Sequence[ModelPatcher]) -> Patches:
    """For each key the patches with which the lists of all MODELs begin."""
    if not patchers:
        return {}
    first, others = patchers[0], patchers[1:]
    common = {
        key: patches[: min([len(patches), *(_common_length(patches, other.patches.get(key, ())) for other in others)])]
        for key, patches in first.patches.items()
    }
    return {key: patches for key, patches in common.items() if patches}


def _common_length(first: Sequence[Patch], second: Sequence[Patch]) -> int:
    """The number of patches at the beginning of two lists that are the same objects, as those of clones are."""
    patches = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in patches if a is not b), min(len(first), len(second)))


def _candidates(patchers: Sequence[ModelPatcher]) -> Iterator[ModelPatcher]:
    """The MODELs, then the MODELs that they were cloned from and differ from in patches alone."""
    yield from patchers
    for patcher in patchers:
        parent = patcher.parent
        while parent is not None:
            if _is_fit(parent) and _differ_in_patches(parent, patcher):
                yield parent
            parent = parent.parent


def _has_only(patcher: ModelPatcher, patches: Patches) -> bool:
    own = {key: entries for key, entries in patcher.patches.items() if entries}
    return own.keys() == patches.keys() and all(same_patches(own[key], patches[key]) for key in patches)


def _additions(patcher: ModelPatcher, common: Patches) -> dict[str, Addition] | None:
    """A MODEL's patches beside the common ones, by the names of the layers; None if rows can't have them apart."""
    layers: dict[str, Patches] = {}
    for key, patches in patcher.patches.items():
        if left := patches[len(common.get(key, ())) :]:
            if any(map(_changes_shape, patches)):
                return None
            path, _, name = key.rpartition(".")
            layers.setdefault(path, {})[name] = left
    attempts = {path: _addition(patcher, path, patches) for path, patches in layers.items()}
    additions = {path: addition for path, addition in attempts.items() if addition is not None}
    return additions if len(additions) == len(attempts) else None


def _addition(patcher: ModelPatcher, path: str, patches: Patches) -> Addition | None:
    layer = comfy.utils.get_attr(patcher.model, path) if path else patcher.model
    of_comfyui = isinstance(layer, comfy.ops.CastWeightBiasOp) and patches.keys() <= {"weight", "bias"}
    if not of_comfyui or any(getattr(layer, name, None) is None for name in patches):
        return None
    if any(isinstance(patch[1], list) for each in patches.values() for patch in each):
        return None  # it merges another network's whole weight: exchanging that costs less than patching at each pass
    patched = PatchedPass(patches, path)
    low_rank = LowRank.of(layer, patches, patched)
    if low_rank is None and getattr(layer, "scale_weight", None) is not None:
        return None  # the layer scales the weight after patching it
    return low_rank or patched


def _changes_shape(patch: Patch) -> bool:
    value = patch[1]
    if isinstance(value, tuple):
        details = value[1] if len(value) == 2 else value
        return len(details) > 1 and isinstance(details[1], dict) and bool(details[1].get("pad_weight"))
    return isinstance(getattr(value, "weights", None), tuple) and value.name == "lora" and value.weights[5] is not None
