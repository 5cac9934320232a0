"""Functions around every call of a network, inside the wrappers of nodes, put into the model_options of the call.

ComfyUI hands these options to all of a MODEL's functions as one object for a run, and nodes may keep in it what they
need at the next step. So a product calls with that object and not with copies: what it adds for a call, it takes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import comfy.model_patcher
from comfy.model_base import BaseModel
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

NetworkCall = Callable[[dict[str, Any]], Tensor]

_KEY = "mcdm"  # of our wrappers
# ComfyUI's own switches: Qwen-Image 2.1's, as its node sets it, and the object that WanAnimate2Cache attaches.
_OFF = {"qwen_image21_cache": {"device": "off"}, "animate2_cache": None}


@contextmanager
def around_calls(options: dict[str, Any], around: Callable[[NetworkCall, dict[str, Any]], Tensor]) -> Iterator[None]:
    """While it lasts, each call of the network goes through a function.

    Args:
        options: The model_options that it is called with.
        around: Takes the call and ComfyUI's arguments for it, "input", "timestep", "c" and "cond_or_uncond".
    """
    inner: Callable | None = options.get("model_function_wrapper")

    def wrapper(apply_model: Callable, args: dict[str, Any]) -> Tensor:
        def call(args: dict[str, Any]) -> Tensor:
            return inner(apply_model, args) if inner else apply_model(args["input"], args["timestep"], **args["c"])

        return around(call, args)

    with holding(options, {"model_function_wrapper": wrapper}):
        yield


@contextmanager
def when_asked(options: dict[str, Any], notice: Callable[[], object]) -> Iterator[None]:
    """While it lasts, a function is called before predictions are asked for, also with copies that hooks make.

    That is before each call of the network, and before `calc_cond_batch`, which calls none for a prompt that is None.

    Args:
        options: The model_options that it is called with.
        notice: The function.
    """

    def noticed(executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
        notice()
        return executor(*args, **kwargs)

    kinds = options.setdefault("transformer_options", {}).setdefault("wrappers", {})
    of_kind = [kinds.setdefault(kind, {}) for kind in (WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL)]
    for wrappers in of_kind:
        others = dict(wrappers)
        wrappers.clear()
        wrappers |= {_KEY: [noticed], **others}  # first, so that it runs even if another one doesn't call the network
    try:
        yield
    finally:
        for wrappers in of_kind:
            wrappers.pop(_KEY, None)  # a hook may have emptied it


@contextmanager
def holding(options: dict[str, Any], entries: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, options hold these entries, too, or in place of their own.

    Args:
        options: The options, or a dictionary in them.
        entries: The entries.
    """
    before = {name: options[name] for name in entries if name in options}
    options.update(entries)
    try:
        yield
    finally:
        for name in entries:
            options.pop(name, None)
        options.update(before)


def undoing(options: dict[str, Any]) -> Callable[[], None]:
    """A function that gives options back what they hold now; they and the dictionaries in them stay the same objects.

    Tensors that were changed in place stay changed.
    """
    before = comfy.model_patcher.create_model_options_clone(options)
    return lambda: _put_back(options, before)


def _put_back(options: dict[Any, Any], before: dict[Any, Any]) -> None:
    held = dict(options)
    options.clear()
    for name, value in before.items():
        own = held.get(name)
        if isinstance(value, dict) and isinstance(own, dict):
            _put_back(own, value)
            value = own
        options[name] = value


@contextmanager
def without_prompt_caches(options: dict[str, Any], network: BaseModel) -> Iterator[None]:
    """While it lasts, a network computes all that depends on the prompt anew at each call.

    Some keep it from step to step by the prompt alone, not by the weights: one that several MODELs share would use one
    MODEL's for another.

    Args:
        options: The model_options that it is called with.
        network: The network.
    """

    def call_anew(call: NetworkCall, args: dict[str, Any]) -> Tensor:
        forget_prompts(network)
        return call(args)

    with ExitStack() as stack:
        stack.enter_context(holding(options.setdefault("transformer_options", {}), _OFF))
        if _forgets_on_demand(network):
            stack.enter_context(around_calls(options, call_anew))
        yield


def forget_prompts(network: BaseModel) -> None:
    """Drop the prompts that a network without a switch, HiDream-O1's, has cached; it keeps them after the run."""
    if _forgets_on_demand(network):
        network.diffusion_model.clear_kv_cache()


def _forgets_on_demand(network: BaseModel) -> bool:
    return hasattr(getattr(network, "diffusion_model", None), "clear_kv_cache")
