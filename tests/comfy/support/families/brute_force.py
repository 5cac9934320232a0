"""The oracle for any family: ComfyUI's own CFGGuider is asked for each expert's two predictions."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from ..oracle.guider import BruteForceGuider, point_of
from ..oracle.variants import Expert


class FamilyBruteForce(BruteForceGuider):
    """Eq. 10 in float64 of what every expert's MODEL predicts alone, as ComfyUI samples it.

    The condition and the null run in one batch, as ever in ComfyUI: a few networks read one row beside another.
    """

    def __init__(self, experts: tuple[Expert, ...], seed: int):
        super().__init__(experts)
        self.seed = seed  # some families draw noise for their conditions

    def _ask(self, expert: Expert, unit: Tensor, angle: float, levels: Tensor) -> tuple[Tensor, Tensor]:
        x, sigma = point_of(expert.model.get_model_object("model_sampling"), unit, angle)
        x, sigma = x.float(), torch.full((len(x),), sigma)
        seen: list[list[Tensor]] = []

        def look(args: dict[str, Any]) -> list[Tensor]:
            seen.append(args["conds_out"])
            return args["conds_out"]

        def ask_once(model: Any, noise: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: Any) -> Tensor:
            return model(x, sigma, **extra_args)

        model = expert.model.clone()
        model.set_model_sampler_pre_cfg_function(look, disable_cfg1_optimization=True)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(expert.condition, expert.null)
        sampler, start = comfy.samplers.KSAMPLER(ask_once), torch.zeros_like(x)
        guider.sample(start, start, sampler, levels, disable_pbar=True, seed=self.seed)
        ((condition, null),) = seen
        return condition.double(), null.double()
