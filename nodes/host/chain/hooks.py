"""Hooks in conditionings, and hooks on guidance."""

from __future__ import annotations

import copy
from dataclasses import replace

import comfy.hooks
import comfy.sampler_helpers
from comfy.model_patcher import ModelPatcher

from ....mcdm_core.product.plans.needed_nulls import Remedies
from .expert_chain import Conds, ExpertInput, Experts

CFG_HOOKS = ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function")
"""Options of a MODEL that hold hooks on guidance."""
REMEDIES = Remedies(
    "Connect null",
    ("because a node that changed the guidance of its MODEL asks for it", "or remove that node"),
    (
        "the sampler or a node asks for the unconditional estimate whatever the weights sum to, as CFG++ samplers do",
        "choose another sampler",
    ),
)
"""How a null is given in a graph, and who may ask for one."""


def null_is_read(experts: Experts) -> bool:
    """Whether a node's hook reads more of the first expert's null pass than the prediction; SAG reads its attention."""
    return bool(experts[0].model.model_options.get("disable_cfg1_optimization"))


def has_hooks(expert: ExpertInput) -> bool:
    """Whether an expert's conditioning has hooks, which change its MODEL when it is prepared."""
    return len(_hooks(expert)) > 0


def hooks_of_all_passes(expert: ExpertInput) -> frozenset[comfy.hooks.Hook]:
    """Hooks in an expert's conditioning that ComfyUI attaches to the MODEL, for all its passes."""
    found = _hooks(expert).get_type(comfy.hooks.EnumHookType.TransformerOptions)
    return frozenset(hook for hook in found if hook.hook_scope == comfy.hooks.EnumHookScope.AllConditioning)


def patches_passes(entry: dict) -> bool:
    """Whether hooks of a processed condition patch the passes for it, as those of regional prompts do."""
    hooks = entry.get("hooks")
    return hooks is not None and bool(hooks.get_type(comfy.hooks.EnumHookType.TransformerOptions))


def separate_hooked(experts: Experts) -> Experts:
    """The experts, with clones in place of a shared MODEL where hooks of one expert would act on another's passes.

    The first expert keeps its MODEL.
    """
    keys = [(expert.model, hooks_of_all_passes(expert)) for expert in experts]
    models: dict[tuple[ModelPatcher, frozenset], ModelPatcher] = {}
    for model, hooks in dict.fromkeys(keys):
        models[model, hooks] = model.clone() if any(model is kept for kept, _ in models) else model
    return tuple(replace(expert, model=models[key]) for expert, key in zip(experts, keys, strict=True))


def schedule_hooks_apart(conds: Conds) -> None:
    """Give hooks copies of their schedules: a schedule remembers its keyframe, by one MODEL's noise levels."""
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
    """The same hooks with copies of their schedules, which are kept by the `id` of the original.

    It doesn't use a hook's own `clone`: ComfyUI seldom calls it, so that of a node pack may lose attributes unnoticed.
    """
    group = comfy.hooks.HookGroup()
    for hook in shared.hooks:
        other = copy.copy(hook)
        other.hook_keyframe = schedules.setdefault(id(hook.hook_keyframe), hook.hook_keyframe.clone())
        group.add(other)
    return group


def _hooks(expert: ExpertInput) -> comfy.hooks.HookGroup:
    found = comfy.hooks.HookGroup()
    for conditioning in (expert.condition, expert.null):
        comfy.sampler_helpers.get_hooks_from_cond([values for _, values in conditioning or ()], found)
    return found
