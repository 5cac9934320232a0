"""Caches of prompts that networks keep from step to step, keyed by the prompt alone, not by the weights.

A network that several MODELs share must not use them: it would use one MODEL's cache for another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from comfy.model_base import BaseModel
from torch import Tensor

from .network_calls import NetworkCall, around_calls, holding

# ComfyUI's own switches: Qwen-Image 2.1's, as its node sets it, and the object that WanAnimate2Cache attaches.
_OFF = {"qwen_image21_cache": {"device": "off"}, "animate2_cache": None}


@contextmanager
def without_prompt_caches(options: dict[str, Any], model: BaseModel) -> Iterator[None]:
    """While it lasts, a network computes all that depends on the prompt anew at each call.

    Args:
        options: The model_options that it is asked with.
        model: The network.
    """

    def call_anew(call: NetworkCall, args: dict[str, Any]) -> Tensor:
        forget_prompts(model)
        return call(args)

    with ExitStack() as stack:
        stack.enter_context(holding(options.setdefault("transformer_options", {}), _OFF))
        if _forgets_on_demand(model):
            stack.enter_context(around_calls(options, call_anew))
        yield


def forget_prompts(model: BaseModel) -> None:
    """Drop the prompts that a network without a switch, HiDream-O1's, has cached; it keeps them after the run."""
    if _forgets_on_demand(model):
        model.diffusion_model.clear_kv_cache()


def _forgets_on_demand(model: BaseModel) -> bool:
    return hasattr(getattr(model, "diffusion_model", None), "clear_kv_cache")
