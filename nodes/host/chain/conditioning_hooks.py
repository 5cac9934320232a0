"""Hooks in the CONDITIONINGs of experts, which change a MODEL, or its passes, for one of them.

As a guider is made, `delegate_hooked` and `separate_hooked` give experts MODELs that hooks can change; as a run begins,
`copy_hook_keyframes` gives those of one MODEL keyframes of their own. The other functions ask what hooks there are.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import comfy.hooks
import comfy.sampler_helpers
from comfy.model_patcher import ModelPatcher

from .expert_chain import Conds, Experts, WiredTerm


def delegate_hooked(experts: Experts) -> Experts:
    """The experts, on classic MODELs in place of dynamic ones if the conditioning of an expert on those has hooks.

    A dynamic MODEL's weights are fetched as they are used. ComfyUI's guider replaces its one MODEL likewise. The
    network is then loaded a second time, whole or in parts; clones of one checkpoint share that second network as they
    share the first.

    Raises:
        ValueError: If ComfyUI cannot load a MODEL a second time.
    """
    hooked = {expert.model: expert for expert in reversed(experts) if expert.model.is_dynamic() and has_hooks(expert)}
    delegates: dict[ModelPatcher, ModelPatcher] = {}
    for expert in experts:
        if expert.model in hooked and expert.model not in delegates:
            sibling = next((delegates[other] for other in delegates if other.model is expert.model.model), None)
            delegates[expert.model] = _delegate(hooked[expert.model], sibling)
    return tuple(replace(expert, model=delegates.get(expert.model, expert.model)) for expert in experts)


def _delegate(expert: WiredTerm, sibling: ModelPatcher | None) -> ModelPatcher:
    patcher = expert.model
    if sibling is not None:
        return patcher.clone(disable_dynamic=True, model_override=sibling.get_clone_model_override())
    if patcher.cached_patcher_init is None and patcher.non_dynamic_delegate_model is None:
        raise ValueError(
            f"Expected a MODEL from one of ComfyUI's own loaders for {expert.label}, whose positive or negative has "
            "hooks, and got one that cannot be loaded a second time for them; load its file with one of those, or "
            "start ComfyUI with --disable-dynamic-vram."
        )
    return patcher.get_non_dynamic_delegate()


def separate_hooked(experts: Experts) -> Experts:
    """The experts, with clones in place of a shared MODEL where hooks of one expert would act on another's passes.

    The first expert keeps its MODEL.
    """
    keys = [(expert.model, hooks_of_all_passes(expert)) for expert in experts]
    patchers: dict[tuple[ModelPatcher, frozenset], ModelPatcher] = {}
    for patcher, hooks in dict.fromkeys(keys):
        patchers[patcher, hooks] = patcher.clone() if any(patcher is kept for kept, _ in patchers) else patcher
    return tuple(replace(expert, model=patchers[key]) for expert, key in zip(experts, keys, strict=True))


def copy_hook_keyframes(conds: Conds) -> None:
    """Give hooks copies of their keyframes, which remember the present one by the noise levels of one MODEL.

    It doesn't use a hook's own `clone`: ComfyUI seldom calls it, so that of a node pack may lose attributes unnoticed.
    """
    groups: dict[int, comfy.hooks.HookGroup] = {}
    keyframes: dict[int, comfy.hooks.HookKeyframeGroup] = {}  # both by the `id` of the original
    for entry in (entry for entries in conds.values() for entry in entries if entry.get("hooks") is not None):
        given = entry["hooks"]
        if id(given) not in groups:
            group = groups[id(given)] = comfy.hooks.HookGroup()
            for hook in given.hooks:
                other = copy.copy(hook)
                other.hook_keyframe = keyframes.setdefault(id(hook.hook_keyframe), hook.hook_keyframe.clone())
                group.add(other)
        entry["hooks"] = groups[id(given)]


def has_hooks(expert: WiredTerm) -> bool:
    """Whether an expert's conditioning has hooks, which change its MODEL when it is prepared."""
    return len(_hooks(expert)) > 0


def hooks_of_all_passes(expert: WiredTerm) -> frozenset[comfy.hooks.Hook]:
    """Hooks in an expert's conditioning that ComfyUI attaches to the MODEL, for all its passes."""
    patching = _hooks(expert).get_type(comfy.hooks.EnumHookType.TransformerOptions)
    return frozenset(hook for hook in patching if hook.hook_scope == comfy.hooks.EnumHookScope.AllConditioning)


def patches_passes(entry: dict) -> bool:
    """Whether hooks of a processed condition patch the passes for it, as those of regional prompts do."""
    hooks = entry.get("hooks")
    return hooks is not None and bool(hooks.get_type(comfy.hooks.EnumHookType.TransformerOptions))


def _hooks(expert: WiredTerm) -> comfy.hooks.HookGroup:
    group = comfy.hooks.HookGroup()
    for conditioning in expert.conditionings.values():
        comfy.sampler_helpers.get_hooks_from_cond([values for _, values in conditioning], group)
    return group
