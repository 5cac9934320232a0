"""Caches of prompts that networks keep from step to step, keyed by the prompt alone, not by the weights.

A network that several MODELs share must not use them: it would use one MODEL's cache for another.
"""

from __future__ import annotations

from typing import Any

from comfy.model_base import BaseModel
from torch import Tensor

from .network_calls import NetworkCall, around_calls

# ComfyUI's own switches: Qwen-Image 2.1's, as its node sets it, and the object that WanAnimate2Cache attaches.
_OFF = {"qwen_image21_cache": {"device": "off"}, "animate2_cache": None}


def without_prompt_caches(options: dict[str, Any], model: BaseModel) -> dict[str, Any]:
    """model_options under which a network computes all that depends on the prompt anew at each call.

    Args:
        options: The options.
        model: The network.
    """
    inside = {**options.get("transformer_options", {}), **_OFF}
    options = {**options, "transformer_options": inside}

    def call_anew(call: NetworkCall, args: dict[str, Any]) -> Tensor:
        forget_prompts(model)
        return call(args)

    return around_calls(options, call_anew) if _forgets_on_demand(model) else options


def forget_prompts(model: BaseModel) -> None:
    """Drop the prompts that a network without a switch, HiDream-O1's, has cached; it keeps them after the run."""
    if _forgets_on_demand(model):
        model.diffusion_model.clear_kv_cache()


def _forgets_on_demand(model: BaseModel) -> bool:
    return hasattr(getattr(model, "diffusion_model", None), "clear_kv_cache")
