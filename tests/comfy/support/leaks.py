"""Traces that a run could leave in MODELs, in the networks that they share, and in memory."""

import gc
import threading
from collections import Counter
from typing import NamedTuple

import torch

RENEWED = ("patches_uuid", "current_weight_patches_uuid")  # ComfyUI changes them whenever it registers hooks


def state_of(*models):
    """All that a run could change, except weights: copies of the containers, with their contents by reference."""
    return [(_attributes(model), _network(model.model)) for model in models]


def _attributes(thing):
    return {name: _copy(value) for name, value in vars(thing).items() if name not in RENEWED}


def _network(network):
    modules = {
        name: {key: value for key, value in _attributes(module).items() if not key.startswith("_")}
        for name, module in network.named_modules()
    }
    objects = {name: dict(module._modules) for name, module in network.named_modules()}
    return modules, objects


def _copy(value):
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(entry) for entry in value]
    return set(value) if isinstance(value, set) else value


def assert_unchanged(experts, before, threads):
    """Nothing of a run is left, in the MODELs of experts (`before` is their `state_of`) or in threads."""
    assert threading.active_count() == threads
    after = state_of(*(expert.model for expert in experts))
    for (attributes, _), (found, _) in zip(before, after, strict=True):
        assert attributes.keys() == found.keys()
        kept = ("hook_mode", "hook_patches", "patches", "object_patches", "wrappers", "callbacks")
        assert all(attributes[name] == found[name] for name in kept)
    assert all(expert.model.model.current_patcher is None for expert in experts)


class Living(NamedTuple):
    """The objects alive after garbage collection.

    Attributes:
        tensors: Number of tensors.
        nbytes: Bytes of their storages.
        objects: Number of objects of each kind.
    """

    tensors: int
    nbytes: int
    objects: Counter[str]

    @classmethod
    def now(cls):
        gc.collect()
        # Tensors of other classes consist of such tensors, or are the compiler's, which have no storage.
        tensors = [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]
        storages = [tensor.untyped_storage() for tensor in tensors]  # objects too, once they are asked for
        sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
        return cls(len(tensors), sum(sizes.values()), Counter(type(thing).__qualname__ for thing in gc.get_objects()))


def assert_no_tensor_stays(run, times=12):
    """Run something so often; after the third time, no tensor more may be alive."""
    for count in range(1, times + 1):
        run()
        if count == 3:
            before = Living.now().tensors
    assert Living.now().tensors == before
