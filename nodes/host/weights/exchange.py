"""How a network that several MODELs share is turned from one of them into another: what every way of it can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import nn

from .differences import changed_keys


class Exchange(ABC):
    """Turns one network from one MODEL into another.

    Args:
        patchers: The MODELs that share the network, first the one that is loaded.
    """

    def __init__(self, patchers: Sequence[ModelPatcher]):
        self.patchers = patchers
        self.model = patchers[0].model

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Around ComfyUI's own loading, at the beginning of a run."""
        yield

    @abstractmethod
    def exchange(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Give the network a MODEL's weights and objects; where that fails, it keeps the previous one's."""

    @abstractmethod
    def keeps(self, patcher: ModelPatcher) -> bool:
        """Whether the MODEL can be given back without any work, since the network was it before."""

    @abstractmethod
    def forget(self) -> None:
        """Drop all that is kept of MODELs."""

    @abstractmethod
    def reload(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Let ComfyUI load a MODEL in the previous one's place; where that fails, the network is left unloaded."""

    @abstractmethod
    def follow(self, active: ModelPatcher, loaded: ModelPatcher) -> None:
        """Give the network the active MODEL's weights after ComfyUI has moved weights itself.

        Args:
            active: The MODEL it should be.
            loaded: The MODEL that ComfyUI took it for.
        """

    def finish(self, loaded: ModelPatcher) -> None:
        """Leave the network, which is the loaded MODEL again, to ComfyUI."""
        self.forget()

    def unload(self, active: ModelPatcher) -> None:
        """Leave the network unloaded."""
        active.unpatch_hooks()
        active.unpatch_model(active.offload_device)


@dataclass(eq=False)
class Slot:
    """The place of one weight in the network; what is in it changes with the MODEL."""

    key: str
    module: nn.Module
    name: str

    @property
    def parameter(self) -> nn.Parameter:
        """The weight."""
        return cast(nn.Parameter, self.module._parameters[self.name])

    @parameter.setter
    def parameter(self, value: nn.Parameter) -> None:
        # Past Module.__setattr__, which takes longer than everything else here.
        self.module._parameters[self.name] = value


def slots_of(patchers: Sequence[ModelPatcher]) -> list[Slot]:
    """The places of all weights that one of these MODELs patches or hooks.

    The largest come first, as ComfyUI loads: patching holds a few copies of a weight, best while little else is held.
    """
    found = []
    for key in set().union(*map(changed_keys, patchers)):
        path, _, name = key.rpartition(".")
        module = comfy.utils.get_attr(patchers[0].model, path) if path else patchers[0].model
        if module._parameters.get(name) is not None:
            found.append(Slot(key, module, name))
    return sorted(found, key=lambda slot: (-slot.parameter.nbytes, slot.key))


def move_objects(patcher: ModelPatcher) -> None:
    """Bring to the device what a MODEL puts in place of parts of the network, as loading it would."""
    for value in patcher.object_patches.values():
        if isinstance(value, nn.Module):
            value.to(patcher.load_device)
