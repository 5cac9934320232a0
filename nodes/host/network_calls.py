"""What is put around every call of a network, inside what nodes have put there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Call = Callable[[dict[str, Any]], Tensor]


def around_calls(options: dict[str, Any], around: Callable[[Call, dict[str, Any]], Tensor]) -> dict[str, Any]:
    """model_options under which each call of the network goes through a function.

    Args:
        options: The options.
        around: Is given the call and ComfyUI's arguments of it, "input", "timestep", "c" and "cond_or_uncond".
    """
    inner: Callable | None = options.get("model_function_wrapper")

    def wrapper(apply_model: Callable, args: dict[str, Any]) -> Tensor:
        def call(args: dict[str, Any]) -> Tensor:
            return inner(apply_model, args) if inner else apply_model(args["input"], args["timestep"], **args["c"])

        return around(call, args)

    return {**options, "model_function_wrapper": wrapper}
