"""Which MODELs read a condition beside its null."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.model_base
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher

from .run_wrappers import PREDICTING, wrappers_of

# Families whose networks take half of a batch for conditions and half for nulls; not every core has all.
_PAIRWISE = tuple(
    getattr(comfy.model_base, name)
    for name in ("SeedVR2", "ACEStep15", "Hunyuan3Dv2_1")
    if hasattr(comfy.model_base, name)
)


class Pairs(NamedTuple):
    """Whether a MODEL reads a condition beside its null.

    Attributes:
        are_read: Whether its network, or something in its passes as core's NAG, is taken to.
        may_be_read: Whether that is so, or a function that replaces one of its network's may.
    """

    are_read: bool
    may_be_read: bool


def pairs_of(patcher: ModelPatcher) -> Pairs:
    """Whether a MODEL reads a condition beside its null; of one on a worker, what the worker says."""
    told = getattr(patcher.model, "pairs", None)
    if isinstance(told, Pairs):
        return told
    replaces = replaces_forwards(patcher)
    are_read = isinstance(patcher.model, _PAIRWISE) or _asks_for_nulls_in_passes(patcher, replaces)
    return Pairs(are_read, are_read or replaces)


def replaces_forwards(patcher: ModelPatcher) -> bool:
    """Whether a MODEL puts functions of a node's, or layers of another kind, in place of its network's own.

    Such a function may take half of a batch for conditions and half for nulls, as KJNodes' WanVideoNAG does.
    """
    inside = [
        (name, value) for name, value in patcher.object_patches.items() if name.split(".")[0] == "diffusion_model"
    ]
    return any(callable(value) and not _runs_like_what_was_there(patcher, name, value) for name, value in inside)


def _asks_for_nulls_in_passes(patcher: ModelPatcher, replaces: bool) -> bool:
    """Whether something in a MODEL's passes asks for nulls.

    ComfyUI's sign of that is that a node asks for the null whatever cfg is; it is also that of hooks on guidance, which
    read nothing in the passes. A MODEL with patches, wrappers or functions of a node's and either is taken to: at
    worst, rows are asked that nobody reads.
    """
    options = patcher.model_options
    inside = options.get("transformer_options", {})
    patched = any(inside.get(name) for name in ("patches", "patches_replace"))
    wrapped = any(True for kind in PREDICTING for _ in wrappers_of(patcher, kind))
    otherwise = "model_function_wrapper" in options or replaces
    return bool(options.get("disable_cfg1_optimization")) and (patched or wrapped or otherwise)


def _runs_like_what_was_there(patcher: ModelPatcher, name: str, value: Any) -> bool:
    """Whether an object does what the one does that it replaces: it is compiled, or a layer with other weights."""
    backup = patcher.object_patches_backup
    try:
        replaced = backup[name] if name in backup else comfy.utils.get_attr(patcher.model, name)
    except AttributeError:
        return False
    return _function(value) is _function(replaced)


def _function(value: Any) -> Any:
    """What runs where a layer, or a method of it, is called; of a compiled one, what was compiled."""
    value = getattr(value, "_orig_mod", getattr(value, "_torchdynamo_orig_callable", value))
    if isinstance(value, torch.nn.Module):
        value = value.forward
    return getattr(value, "__func__", value)
