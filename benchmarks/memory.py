"""Bytes held by tensors."""

import gc

import torch


def live_bytes() -> int:
    """Bytes of all tensors that Python holds, memory that several share counted once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):  # isinstance would wake lazily imported modules
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
