"""Functions around every call of a network, inside the wrappers of nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

NetworkCall = Callable[[dict[str, Any]], Tensor]


def around_calls(options: dict[str, Any], around: Callable[[NetworkCall, dict[str, Any]], Tensor]) -> dict[str, Any]:
    """model_options under which each call of the network goes through a function.

    Args:
        options: The options.
        around: Takes the call and ComfyUI's arguments for it, "input", "timestep", "c" and "cond_or_uncond".
    """
    inner: Callable | None = options.get("model_function_wrapper")

    def wrapper(apply_model: Callable, args: dict[str, Any]) -> Tensor:
        def call(args: dict[str, Any]) -> Tensor:
            return inner(apply_model, args) if inner else apply_model(args["input"], args["timestep"], **args["c"])

        return around(call, args)

    return {**options, "model_function_wrapper": wrapper}


def when_asked(options: dict[str, Any], notice: Callable[[], object]) -> dict[str, Any]:
    """model_options under which a function is called before each call of the network, also in copies that hooks make.

    Args:
        options: The options.
        notice: The function.
    """

    def noticed(executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
        notice()
        return executor(*args, **kwargs)

    inside = options.get("transformer_options", {})
    wrappers = inside.get("wrappers", {})
    # First, so that it runs even if another wrapper doesn't call the network.
    around = {"mcdm": [noticed], **wrappers.get(WrappersMP.APPLY_MODEL, {})}
    wrappers = {**wrappers, WrappersMP.APPLY_MODEL: around}
    return {**options, "transformer_options": {**inside, "wrappers": wrappers}}
