"""A network that several MODELs share: whose weights it has, and what an exchange of them has to do."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import nn

from ..comfyui.network_calls import forget_prompts
from .differences import changed_keys, same_parameters, why_reloaded

logger = logging.getLogger(__name__)


class SharedNetwork(ABC):
    """One network that several MODELs share, which has the weights and objects of one or another of them.

    Args:
        names: The MODELs, the loaded one first, with the names of their experts in messages.

    Attributes:
        patchers: The MODELs.
        loaded: The MODEL that ComfyUI loads.
        active: The MODEL whose weights the network has.
    """

    def __init__(self, names: dict[ModelPatcher, str]):
        self.patchers = list(names)
        self.loaded = self.active = self.patchers[0]
        self.network = self.loaded.model
        self._names = names
        self._slots: list[Slot] = []
        self._kept: dict[int, Any] = {}  # by the id of a MODEL, what it keeps of its weights
        self._owners: dict[int, ModelPatcher] = {}
        self._last_placement: tuple | None = None
        self._warned = False

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Wraps ComfyUI's own loading, at the beginning of a run."""
        yield

    def owner(self, patcher: ModelPatcher) -> ModelPatcher:
        """The first MODEL with the same weights."""
        if id(patcher) not in self._owners:
            self._owners[id(patcher)] = next(first for first in self.patchers if same_parameters(first, patcher))
        return self._owners[id(patcher)]

    def activate(self, patcher: ModelPatcher) -> None:
        """Give the network this MODEL's weights."""
        patcher = self.owner(patcher)
        if self._last_placement is not None and self._placement() != self._last_placement:
            logger.debug("Weights were moved in the middle of a run; patching them again.")
            self._follow()
        if patcher is not self.active:
            if self._are_exchanged(self.active, patcher):
                self._exchange(self.active, patcher)
            else:
                self._warn_of_loading(patcher)
                previous, self.active = self.active, self.loaded  # a failed load leaves the network unloaded
                self._reload(previous, patcher)
            self.active = patcher
        self._last_placement = self._placement()

    def restore(self) -> None:
        """Give the network back the weights it was loaded with; unload it where that would take another load."""
        if self.active is not self.loaded:
            if id(self.loaded) in self._kept and self._placement() == self._last_placement:
                self._exchange(self.active, self.loaded)
                self.loaded.unpatch_hooks()
            else:
                self._unload()
            self.active = self.loaded
        self.network.current_patcher = None
        if len(self.patchers) > 1:
            forget_prompts(self.network)
        self._finish()
        self._last_placement = None

    @abstractmethod
    def _exchange(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Give the network a MODEL's weights and objects; on failure it keeps those of the previous MODEL."""

    @abstractmethod
    def _reload(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Let ComfyUI load a MODEL in place of the previous one; on failure the network is left unloaded."""

    def _follow(self) -> None:
        """Load the active MODEL anew, after ComfyUI has moved weights itself."""
        self.loaded.eject_model()  # ComfyUI has injected its layers if it has loaded it anew
        self._reload(self.active, self.active)

    def _forget(self) -> None:
        """Drop the weights and patches that are kept for MODELs."""
        self._kept.clear()
        self._slots.clear()

    def _finish(self) -> None:
        """Hand the network back to ComfyUI, once it has the loaded MODEL's weights again."""
        self._forget()

    def _unload(self) -> None:
        """Leave the network unloaded."""
        self.active.unpatch_hooks()
        self.active.unpatch_model(self.active.offload_device)

    @cached_property
    def _why_reloaded(self) -> dict[ModelPatcher, str]:
        """The MODELs that ComfyUI has to load anew, with the reason; found when MODELs are first switched."""
        reasons = {patcher: why_reloaded(patcher) for patcher in self.patchers}
        return {patcher: reason for patcher, reason in reasons.items() if reason is not None}

    def _are_exchanged(self, first: ModelPatcher, second: ModelPatcher) -> bool:
        """Whether exchanging Parameters turns one MODEL into the other; else ComfyUI has to load it."""
        casts_alike = first.force_cast_weights == second.force_cast_weights
        return casts_alike and self._why_reloaded.keys().isdisjoint((first, second))

    def _placement(self) -> tuple:
        """A value that changes when ComfyUI moves or patches weights itself, to free memory during a run for one."""
        network, injected = self.network, [patcher.is_injected for patcher in self.patchers]
        return network.current_weight_patches_uuid, network.model_loaded_weight_memory, network.device, injected

    def _warn_of_loading(self, patcher: ModelPatcher) -> None:
        if self._warned:
            return
        self._warned = True
        both = (self.active, patcher)
        reasons = [f"{self._names[each]} {self._why_reloaded[each]}" for each in both if each in self._why_reloaded]
        logger.warning(
            "%s and %s share one network, and it is loaded anew for each at every step, which is slow, because %s; "
            "give one of them a copy of the checkpoint's file.",
            *(self._names[each] for each in both),
            " and ".join(reasons) or "they cast weights differently",
        )


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
