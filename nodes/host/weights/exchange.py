"""The interface of an exchange, which gives a network that several MODELs share the weights of one or another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import nn

from .differences import changed_keys


class Exchange(ABC):
    """Gives one network the weights and objects of one MODEL or another.

    Args:
        patchers: The MODELs that share the network, the loaded one first.
    """

    def __init__(self, patchers: Sequence[ModelPatcher]):
        self.patchers = patchers
        self.model = patchers[0].model
        self._slots: list[Slot] = []
        self._kept: dict[int, Any] = {}  # by the id of a MODEL, what it keeps of its weights

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Wraps ComfyUI's own loading, at the beginning of a run."""
        yield

    @abstractmethod
    def exchange(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Give the network a MODEL's weights and objects; on failure it keeps those of the previous MODEL."""

    def keeps(self, patcher: ModelPatcher) -> bool:
        """Whether a MODEL's weights are kept from an earlier exchange, so that none have to be patched."""
        return id(patcher) in self._kept

    def forget(self) -> None:
        """Drop the weights and patches that are kept for MODELs."""
        self._kept.clear()
        self._slots.clear()

    @abstractmethod
    def reload(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Let ComfyUI load a MODEL in place of the previous one; on failure the network is left unloaded."""

    @abstractmethod
    def follow(self, active: ModelPatcher, loaded: ModelPatcher) -> None:
        """Give the network the active MODEL's weights after ComfyUI has moved weights itself.

        Args:
            active: The MODEL whose weights the network should have.
            loaded: The MODEL that ComfyUI loaded.
        """

    def finish(self, loaded: ModelPatcher) -> None:
        """Hand the network back to ComfyUI, once it has the loaded MODEL's weights again."""
        self.forget()

    def unload(self, active: ModelPatcher) -> None:
        """Leave the network unloaded."""
        active.unpatch_hooks()
        active.unpatch_model(active.offload_device)


@dataclass(eq=False)
class Slot:
    """Where one weight is in the network; its Parameter changes with the MODEL."""

    key: str
    module: nn.Module
    name: str

    @property
    def parameter(self) -> nn.Parameter:
        """The weight."""
        return cast(nn.Parameter, self.module._parameters[self.name])

    @parameter.setter
    def parameter(self, value: nn.Parameter) -> None:
        # Not by Module.__setattr__, which takes longer than everything else here.
        self.module._parameters[self.name] = value


def slots_of(patchers: Sequence[ModelPatcher]) -> list[Slot]:
    """The slots of all weights that any of these MODELs patches or hooks, the largest first.

    ComfyUI loads in this order: patching takes a few copies of a weight, so large ones go first, while memory is free.
    """
    slots = []
    for key in set().union(*map(changed_keys, patchers)):
        path, _, name = key.rpartition(".")
        module = comfy.utils.get_attr(patchers[0].model, path) if path else patchers[0].model
        if module._parameters.get(name) is not None:
            slots.append(Slot(key, module, name))
    return sorted(slots, key=lambda slot: (-slot.parameter.nbytes, slot.key))


def move_objects(patcher: ModelPatcher) -> None:
    """Move the modules with which a MODEL replaces parts of the network to its device, as loading would."""
    for value in patcher.object_patches.values():
        if isinstance(value, nn.Module):
            value.to(patcher.load_device)
