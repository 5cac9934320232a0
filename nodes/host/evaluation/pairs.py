"""MODELs that read a condition together with its null, as the two halves of one batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.model_base
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher

from ..chain.attachments import PREDICTING, wrappers_of

# Families whose networks take half of a batch as conditions and half as nulls.
_PAIRWISE = (comfy.model_base.SeedVR2, comfy.model_base.ACEStep15, comfy.model_base.Hunyuan3Dv2_1)


class Pairs(NamedTuple):
    """Whether a MODEL reads a condition together with its null.

    Attributes:
        are_read: Whether its network, or a patch of its passes such as core's NAG, is assumed to.
        may_be_read: Whether that holds, or a function that replaces one of its network's might.
    """

    are_read: bool
    may_be_read: bool


def pairs_of(patcher: ModelPatcher) -> Pairs:
    """Whether a MODEL reads a condition together with its null; for a MODEL on a worker, the worker's answer."""
    from_worker = getattr(patcher.model, "pairs", None)
    if isinstance(from_worker, Pairs):
        return from_worker
    replaces = replaces_forwards(patcher)
    are_read = isinstance(patcher.model, _PAIRWISE) or _reads_nulls_in_passes(patcher, replaces)
    return Pairs(are_read, are_read or replaces)


def replaces_forwards(patcher: ModelPatcher) -> bool:
    """Whether a node has replaced functions of a MODEL's network, or layers by layers of another kind.

    Such a function may take half of a batch as conditions and half as nulls, as KJNodes' WanVideoNAG does.
    """
    objects = patcher.object_patches.items()
    inside = [(name, value) for name, value in objects if name.split(".")[0] == "diffusion_model"]
    return any(callable(value) and not _runs_like_original(patcher, name, value) for name, value in inside)


def _reads_nulls_in_passes(patcher: ModelPatcher, replaces: bool) -> bool:
    """Whether something in a MODEL's passes is assumed to read nulls.

    A node that needs them disables ComfyUI's shortcut at cfg 1. So do hooks on guidance, which read nothing in the
    passes. A MODEL without the shortcut that also has a node's patches, wrappers or functions is assumed to read nulls:
    at worst, rows are computed that nobody reads.
    """
    options = patcher.model_options
    inside = options.get("transformer_options", {})
    patched = any(inside.get(name) for name in ("patches", "patches_replace"))
    wrapped = any(True for _ in wrappers_of(patcher, *PREDICTING))
    otherwise = "model_function_wrapper" in options or replaces
    return bool(options.get("disable_cfg1_optimization")) and (patched or wrapped or otherwise)


def _runs_like_original(patcher: ModelPatcher, name: str, value: Any) -> bool:
    """Whether an object runs the same code as the one it replaces: a compiled one, or a layer with other weights."""
    backup = patcher.object_patches_backup
    try:
        replaced = backup[name] if name in backup else comfy.utils.get_attr(patcher.model, name)
    except AttributeError:
        return False
    return _function(value) is _function(replaced)


def _function(value: Any) -> Any:
    """The function that runs when a layer, or a method of it, is called; for a compiled one, the original function."""
    value = getattr(value, "_orig_mod", getattr(value, "_torchdynamo_orig_callable", value))
    if isinstance(value, torch.nn.Module):
        value = value.forward
    return getattr(value, "__func__", value)
