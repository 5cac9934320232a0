"""Builds networks without weights, to be filled with a file's tensors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWN = (Tensor.uniform_, Tensor.normal_)


class _WithoutDraws(TorchFunctionMode):
    """Skips weight initialization, which takes longest on the meta device although nothing is drawn there."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWN or getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextmanager
def without_weights() -> Iterator[None]:
    """Context in which networks are built on the meta device: parameters have shapes, but no values."""
    with torch.device("meta"), _WithoutDraws():
        yield
