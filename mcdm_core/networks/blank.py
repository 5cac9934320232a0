"""Networks without weights, which a file's own then become."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWN = (Tensor.uniform_, Tensor.normal_)


class _WithoutDraws(TorchFunctionMode):
    """Leaves out the initial weights, which take longer than all else where there is no memory to draw them into."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWN or getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextmanager
def without_weights() -> Iterator[None]:
    """Networks that are built within have parameters of their shapes and no values, on the meta device."""
    with torch.device("meta"), _WithoutDraws():
        yield
