"""What a product leaves idle: CFG hooks and conditions."""

from __future__ import annotations

import logging
from collections.abc import Callable

from comfy.model_patcher import ModelPatcher

from ..chain.expert_chain import Experts
from ..chain.hooks import CFG_HOOKS
from ..files.expert_model import clamp_pixels

logger = logging.getLogger(__name__)


def warn_of_idle_hooks(experts: Experts) -> None:
    """Name the experts whose CFG hooks don't run: only the reference's do, see `CfgHooks`."""
    active = _cfg_hooks(experts[0].model)
    for expert in experts:
        elsewhere = getattr(expert.model.model, "guidance", [])  # of a MODEL on a worker, where they don't run
        if elsewhere or any(hook not in (*active, clamp_pixels) for hook in _cfg_hooks(expert.model)):
            logger.warning(
                "The guidance node on the MODEL of %s does nothing: only the first expert's runs. Attach it to the "
                "first expert's MODEL.",
                expert.label,
            )


def warn_of_idle_conditions(experts: Experts) -> None:
    """Say so where experts have conditions and all weights are 0, so that none has an effect."""
    if any(expert.condition is not None for expert in experts) and all(expert.weight == 0 for expert in experts):
        logger.warning(
            "Every weight is 0, so the picture follows no prompt (condition); raise the weight of a Diffusion Expert."
        )


def _cfg_hooks(patcher: ModelPatcher) -> list[Callable]:
    """The hooks on guidance in a MODEL's options, which hold one or a list of each kind."""
    kinds = [patcher.model_options.get(name) for name in CFG_HOOKS]
    return [hook for hooks in kinds if hooks is not None for hook in (hooks if isinstance(hooks, list) else [hooks])]
