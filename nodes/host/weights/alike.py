"""MODELs and conditions of a product that give the same predictions, so that the network is asked only once."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..chain.expert_chain import PRODUCT_KEY, Experts
from ..chain.hooks import CFG_HOOKS, has_hooks
from ..chain.run_wrappers import PREDICTING, wrappers_of
from .differences import same_weights

_GUIDING = (*CFG_HOOKS, "disable_cfg1_optimization")


def asked_models(experts: Experts) -> dict[ModelPatcher, ModelPatcher]:
    """The MODEL to ask in place of each: the first that gives the same predictions, so that both run in one batch."""
    hooked = {expert.model for expert in experts if has_hooks(expert)}
    asked: dict[ModelPatcher, ModelPatcher] = {}
    for expert in experts:
        model = expert.model
        alike = (first for first in asked.values() if not hooked & {first, model} and same_predictions(first, model))
        asked.setdefault(model, next(alike, model))
    return asked


def same_predictions(first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether two MODELs give the same predictions: one network, the same weights, and the same options around it.

    Hooks on guidance may differ.
    """
    return first is second or (same_weights(first, second) and same_options(first, second))


def same_options(first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether two MODELs have the same options and wrappers around their networks; hooks on guidance may differ.

    False where a node sets up state on either MODEL for each run, as EasyCache does with its cache.
    """
    if any(map(_has_state_per_run, (first, second))):
        return False
    options = [
        {name: value for name, value in patcher.model_options.items() if name not in _GUIDING}
        for patcher in (first, second)
    ]
    wrappers = ({kind: patcher.wrappers.get(kind, {}) for kind in PREDICTING} for patcher in (first, second))
    return _same(*options) and _same(*wrappers)


def _has_state_per_run(patcher: ModelPatcher) -> bool:
    kind = WrappersMP.OUTER_SAMPLE
    return any(key != PRODUCT_KEY for key, _ in wrappers_of(patcher, kind))


def same_conditioning(first: list[dict], second: list[dict]) -> bool:
    """Whether a network predicts the same under two processed conditionings."""
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
