"""The oracle for any network with any attachments: ComfyUI's CFGGuider makes each expert's predictions."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .guider import BruteForceGuider, point_of
from .variants import Expert


class ThroughCore(BruteForceGuider):
    """Eq. 10 in float64 of the predictions that ComfyUI makes with each expert's MODEL alone.

    The condition and the null run in one batch, as always in ComfyUI: a few networks read both rows together.
    """

    def __init__(self, experts: tuple[Expert, ...], seed: int, hooks_ask: bool = False):
        super().__init__(experts, hooks_ask)
        self.seed = seed  # some families draw noise for their conditions
        self._bare = {id(expert): _without_guidance(expert.model) for expert in experts}

    def _ask(self, expert: Expert, unit: Tensor, angle: float, levels: Tensor) -> tuple[Tensor, Tensor]:
        x, sigma = point_of(expert.model.get_model_object("model_sampling"), unit, angle)
        x = x.float().to(expert.model.load_device)
        sigma = x.new_full((len(x),), sigma)
        seen: list[list[Tensor]] = []

        def look(args: dict[str, Any]) -> list[Tensor]:
            seen.append(args["conds_out"])
            return args["conds_out"]

        def ask_once(model: Any, noise: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: Any) -> Tensor:
            return model(x, sigma, **extra_args)

        model = self._bare[id(expert)]
        model.model_options["sampler_pre_cfg_function"] = [look]
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(expert.condition, expert.null)
        sampler, start = comfy.samplers.KSAMPLER(ask_once), torch.zeros_like(x)
        guider.sample(start, start, sampler, levels, disable_pbar=True, seed=self.seed)
        ((condition, null),) = seen
        return condition.to(unit), null.to(unit)


def _without_guidance(model: ModelPatcher) -> ModelPatcher:
    """A clone without CFG hooks, which run on the product, not on one expert."""
    clone = model.clone()
    for name in ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function"):
        clone.model_options.pop(name, None)
    clone.model_options["disable_cfg1_optimization"] = True  # so that the null is asked at cfg 1 too
    return clone
