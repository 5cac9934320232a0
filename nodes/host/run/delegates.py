"""Hooks on dynamic MODELs, whose weights are fetched as they are used: a MODEL of the classic kind replaces them."""

from __future__ import annotations

from dataclasses import replace

from comfy.model_patcher import ModelPatcher

from ..chain.expert_chain import ExpertInput, Experts
from ..chain.hooks import has_hooks


def delegate_hooked(experts: Experts) -> Experts:
    """The experts, on classic MODELs in place of dynamic ones if the conditioning of an expert on those has hooks.

    ComfyUI's guider does this for its one MODEL. The network is then loaded a second time, whole or in parts; clones of
    one checkpoint share that second network as they share the first.

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


def _delegate(expert: ExpertInput, sibling: ModelPatcher | None) -> ModelPatcher:
    patcher = expert.model
    if sibling is not None:
        return patcher.clone(disable_dynamic=True, model_override=sibling.get_clone_model_override())
    if patcher.cached_patcher_init is None and patcher.non_dynamic_delegate_model is None:
        raise ValueError(
            f"Expected a MODEL from one of ComfyUI's own loaders for {expert.label}, whose condition or null has "
            "hooks, and got one that cannot be loaded a second time for them; load its file with one of those, or "
            "start ComfyUI with --disable-dynamic-vram."
        )
    return patcher.get_non_dynamic_delegate()
