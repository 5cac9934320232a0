"""Bytes held by tensors."""

import gc
import weakref
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Allocations(TorchDispatchMode):
    """Counts bytes of the tensors that operations make within it; what is there already does not count.

    Attributes:
        now: Of those that live.
        peak: The most that lived at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __enter__(self) -> Self:
        """Begin to count."""
        self._known: dict[int, Any] = {tensor.untyped_storage()._cdata: None for tensor in _live_tensors()}
        return super().__enter__()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count what it allocates."""
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._known:
            self._known[storage._cdata] = weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def _free(self, key: int, size: int) -> None:
        del self._known[key]
        self.now -= size


def live_bytes() -> int:
    """Bytes of all tensors that Python holds, memory that several share counted once."""
    storages = {}
    for tensor in _live_tensors():
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _live_tensors() -> list[torch.Tensor]:
    gc.collect()
    # isinstance would wake lazily imported modules
    return [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
