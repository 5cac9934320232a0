"""One MODEL of a run with everything attached to it: its own options, hooks and conditioning."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import comfy.hooks
import comfy.model_base
import comfy.model_patcher
import comfy.patcher_extension
import comfy.sampler_helpers
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .device_copies import CopiesAtWork, match_copies
from .differences import same_weights
from .expert_chain import PRODUCT_KEY, ExpertInput, Experts
from .run_wrappers import wrappers_of

Conds = dict[str, list[dict]]
CFG_HOOKS = ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function")
_GUIDING = (*CFG_HOOKS, "disable_cfg1_optimization")
_PREDICTING = (  # wrappers of these kinds run in a prediction; guiders run the rest, around the reference's
    comfy.patcher_extension.WrappersMP.CALC_COND_BATCH,
    comfy.patcher_extension.WrappersMP.APPLY_MODEL,
    comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL,
)

# Families whose networks take half of a batch for conditions and half for nulls; not every core has all.
_PAIRWISE = tuple(
    getattr(comfy.model_base, name)
    for name in ("SeedVR2", "ACEStep15", "Hunyuan3Dv2_1")
    if hasattr(comfy.model_base, name)
)


class PreparedModel:
    """Does for one MODEL what CFGGuider does for its only one, and undoes it.

    The reference expert's MODEL is prepared by CFGGuider itself; this is for the others.

    Args:
        patcher: The MODEL.
        conds: Converted conditioning of all experts on it, by name.
    """

    def __init__(self, patcher: ModelPatcher, conds: Conds):
        self.patcher = patcher
        self.conds = conds
        self.guider = comfy.samplers.CFGGuider(patcher)  # what nodes' wrappers around a run are shown
        self.guider.model_options = comfy.model_patcher.create_model_options_clone(patcher.model_options)
        self._hook_mode = patcher.hook_mode
        self._loaded_beside_weights = False
        self._copies: CopiesAtWork | None = None

    @property
    def model_options(self) -> dict[str, Any]:
        """The MODEL's prepared options; a wrapper around the run may put others in their place while it lasts."""
        return self.guider.model_options

    def open(self) -> None:
        """Register hooks, wrappers and callbacks."""
        comfy.samplers.preprocess_conds_hooks(self.conds)
        _schedule_hooks_apart(self.conds)
        if comfy.samplers.get_total_hook_groups_in_conds(self.conds) <= 1:
            self.patcher.hook_mode = comfy.hooks.EnumHookMode.MinVram
        comfy.sampler_helpers.prepare_model_patcher(self.patcher, self.conds, self.model_options)
        comfy.samplers.filter_registered_hooks_on_conds(self.conds, self.model_options)
        self.guider.conds = self.conds

    def needs(self, noise_shape: Sequence[int]) -> tuple[list[ModelPatcher], float]:
        """What has to be loaded beside the MODEL, and the bytes that a pass takes.

        The MODEL's PREPARE_SAMPLING wrappers, which may change both, are run around this instead of around loading.
        """
        memory = 0.0

        def look(
            model: ModelPatcher, shape: Sequence[int], conds: Conds, *args: Any, **kwargs: Any
        ) -> tuple[Any, Conds, list[ModelPatcher]]:
            nonlocal memory
            match_copies(model, conds, self.model_options)
            models, beside = comfy.sampler_helpers.get_additional_models(conds, model.model_dtype())
            models += comfy.sampler_helpers.get_additional_models_from_model_options(self.model_options)
            models += model.get_nested_additional_models()
            memory = comfy.sampler_helpers.estimate_memory(model, shape, conds)[0] + beside
            return model.model, conds, models

        kind = comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING
        wrappers = comfy.patcher_extension.get_all_wrappers(kind, self.model_options, is_model_options=True)
        executor = comfy.patcher_extension.WrapperExecutor.new_executor(look, wrappers)
        _, self.conds, models = executor.execute(
            self.patcher, noise_shape, self.conds, model_options=self.model_options
        )
        return models, memory

    def load_beside_weights(self) -> list[ModelPatcher]:
        """Do what loading does beside the weights, for a MODEL that stays unloaded because a clone of it is.

        Returns:
            The models of its patches, which are to be loaded as well.
        """
        self._loaded_beside_weights = True
        self.patcher.model_patches_to(self.patcher.load_device)
        self.patcher.model_patches_to(self.patcher.model_dtype())
        return self.patcher.model_patches_models()

    def start(self, sigmas: Tensor) -> None:
        """Announce the run to the MODEL, after loading.

        Args:
            sigmas: Noise levels of the run, in this MODEL's form.
        """
        sigmas = sigmas.to(self.patcher.load_device)
        comfy.samplers.cast_to_load_options(
            self.model_options, device=self.patcher.load_device, dtype=self.patcher.model_dtype()
        )
        self.model_options.setdefault("transformer_options", {})["sample_sigmas"] = sigmas
        self._copies = CopiesAtWork(self.patcher, self.model_options)
        self._copies.start()
        self.patcher.pre_run()

    def close(self) -> None:
        """Undo all of the above, whether or not it was completed."""
        with ExitStack() as stack:  # the last first, and one failure keeps nothing else from being undone
            stack.callback(self.patcher.restore_hook_patches)
            self.patcher.hook_mode = self._hook_mode
            offload = self.patcher.offload_device
            stack.callback(comfy.samplers.cast_to_load_options, self.model_options, device=offload)
            if self._loaded_beside_weights:
                stack.callback(self.patcher.model_patches_to, offload)
            if self._copies is not None:
                stack.callback(self._copies.close)
            stack.callback(self.patcher.cleanup)


def _schedule_hooks_apart(conds: Conds) -> None:
    """Give hooks schedules of their own: a schedule remembers where it is, in the noise levels of one MODEL."""
    groups: dict[int, comfy.hooks.HookGroup] = {}
    schedules: dict[int, comfy.hooks.HookKeyframeGroup] = {}
    for entry in (entry for entries in conds.values() for entry in entries if entry.get("hooks") is not None):
        shared = entry["hooks"]
        if id(shared) not in groups:
            groups[id(shared)] = _scheduled_apart(shared, schedules)
        entry["hooks"] = groups[id(shared)]


def _scheduled_apart(
    shared: comfy.hooks.HookGroup, schedules: dict[int, comfy.hooks.HookKeyframeGroup]
) -> comfy.hooks.HookGroup:
    """The same hooks on copies of their schedules, which are kept by what they are copies of.

    A hook's own `clone` is left alone: that of a node pack may forget what ComfyUI, which seldom clones, never misses.
    """
    group = comfy.hooks.HookGroup()
    for hook in shared.hooks:
        other = copy.copy(hook)
        other.hook_keyframe = schedules.setdefault(id(hook.hook_keyframe), hook.hook_keyframe.clone())
        group.add(other)
    return group


def process(
    patcher: ModelPatcher,
    conds: Conds,
    noise: Tensor,
    latent_image: Tensor | None,
    denoise_mask: Tensor | None,
    **kwargs: Any,
) -> Conds:
    """Process one expert's conditioning against its own model, on its own device.

    Args:
        patcher: The expert's MODEL.
        conds: "positive" and "negative", either may be missing.
        noise: Start noise, shape (B, C, H, W).
        latent_image: The latent as it came in, before any model's scaling.
        denoise_mask: Noise mask of the run; None is everywhere.
        **kwargs: Further arguments of `comfy.samplers.process_conds`.
    """
    model, device = patcher.model, patcher.load_device
    if latent_image is not None:
        latent_image = latent_image.to(device)
        if torch.count_nonzero(latent_image) > 0:
            latent_image = model.process_latent_in(latent_image)
    mask = None if denoise_mask is None else denoise_mask.to(device)
    given = {"latent_image": latent_image, "denoise_mask": mask}
    return comfy.samplers.process_conds(model, noise.to(device), conds, device, **given, **kwargs)


def has_hooks(expert: ExpertInput) -> bool:
    """Whether an expert's conditioning brings hooks, which change the MODEL it is prepared with."""
    return len(_hooks(expert)) > 0


def hooks_of_all_passes(expert: ExpertInput) -> frozenset[comfy.hooks.Hook]:
    """Hooks in an expert's conditioning that ComfyUI attaches to the MODEL, to every pass of it."""
    found = _hooks(expert).get_type(comfy.hooks.EnumHookType.TransformerOptions)
    return frozenset(hook for hook in found if hook.hook_scope == comfy.hooks.EnumHookScope.AllConditioning)


def patches_passes(entry: dict) -> bool:
    """Whether hooks of a processed condition patch its passes, as those of regional prompts do."""
    hooks = entry.get("hooks")
    return hooks is not None and bool(hooks.get_type(comfy.hooks.EnumHookType.TransformerOptions))


def separate_hooked(experts: Experts) -> Experts:
    """Experts that share a MODEL, on clones of it where hooks of one would reach the passes of another.

    The first expert keeps its MODEL.
    """
    keys = [(expert.model, hooks_of_all_passes(expert)) for expert in experts]
    models: dict[tuple[ModelPatcher, frozenset], ModelPatcher] = {}
    for model, hooks in dict.fromkeys(keys):
        models[model, hooks] = model.clone() if any(model is kept for kept, _ in models) else model
    return tuple(replace(expert, model=models[key]) for expert, key in zip(experts, keys, strict=True))


def _hooks(expert: ExpertInput) -> comfy.hooks.HookGroup:
    found = comfy.hooks.HookGroup()
    for conditioning in (expert.condition, expert.null):
        comfy.sampler_helpers.get_hooks_from_cond([values for _, values in conditioning or ()], found)
    return found


def asked_models(experts: Experts) -> dict[ModelPatcher, ModelPatcher]:
    """The MODEL to ask in place of each: the first of those that predict alike, so that they run in one batch."""
    hooked = {expert.model for expert in experts if has_hooks(expert)}
    asked: dict[ModelPatcher, ModelPatcher] = {}
    for expert in experts:
        model = expert.model
        alike = (first for first in asked.values() if not hooked & {first, model} and same_predictions(first, model))
        asked.setdefault(model, next(alike, model))
    return asked


def reads_pairs(patcher: ModelPatcher) -> bool:
    """Whether a MODEL's network, or something in its passes as core's NAG, may read a condition beside its null.

    ComfyUI's sign of the latter is that a node asks for the null whatever cfg is; it is also that of hooks on guidance,
    which read nothing in the passes. A MODEL with patches, wrappers or functions of a node's and either is taken to: at
    worst, rows are asked that nobody reads.
    """
    if isinstance(patcher.model, _PAIRWISE) or getattr(patcher.model, "reads_pairs", False):
        return True
    options = patcher.model_options
    inside = options.get("transformer_options", {})
    patched = any(inside.get(name) for name in ("patches", "patches_replace"))
    wrapped = any(True for kind in _PREDICTING for _ in wrappers_of(patcher, kind))
    otherwise = "model_function_wrapper" in options or replaces_forwards(patcher)
    return bool(options.get("disable_cfg1_optimization")) and (patched or wrapped or otherwise)


def replaces_forwards(patcher: ModelPatcher) -> bool:
    """Whether a MODEL puts functions of a node's, or layers of another kind, in place of its network's own.

    Such a function may take half of a batch for conditions and half for nulls, as KJNodes' WanVideoNAG does.
    """
    if getattr(patcher.model, "replaces_forwards", False):  # on a worker
        return True
    inside = [
        (name, value) for name, value in patcher.object_patches.items() if name.split(".")[0] == "diffusion_model"
    ]
    return any(callable(value) and not _runs_like_what_was_there(patcher, name, value) for name, value in inside)


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


def same_predictions(first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether two MODELs answer alike: they are one network with the same weights and nothing else sets them apart.

    What they do to guidance is left out.
    """
    return first is second or (same_weights(first, second) and same_options(first, second))


def same_options(first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether two MODELs do the same around their networks, guidance left out.

    Not where nodes ready something of each MODEL's for the run, as EasyCache does its cache.
    """
    if any(map(_is_readied, (first, second))):
        return False
    options = [
        {name: value for name, value in patcher.model_options.items() if name not in _GUIDING}
        for patcher in (first, second)
    ]
    wrappers = ({kind: patcher.wrappers.get(kind, {}) for kind in _PREDICTING} for patcher in (first, second))
    return _same(*options) and _same(*wrappers)


def _is_readied(patcher: ModelPatcher) -> bool:
    kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    return any(key != PRODUCT_KEY for key, _ in wrappers_of(patcher, kind))


def same_conditioning(first: list[dict], second: list[dict]) -> bool:
    """Whether two processed conditionings ask a network the same."""
    return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and first.device == second.device and torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        keys = first.keys() - {"uuid"}
        return keys == second.keys() - {"uuid"} and all(_same(first[key], second[key]) for key in keys)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))
    if hasattr(first, "process_cond") and type(first) is type(second):
        return _same(first.cond, second.cond)
    if hasattr(first, "same_as") and type(first) is type(second):
        return first.same_as(second)
    return isinstance(first, (bool, int, float, str)) and type(first) is type(second) and first == second
