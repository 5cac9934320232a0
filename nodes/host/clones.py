"""MODELs that share one network, a checkpoint with and without a LoRA, say: each is given its own weights in turn."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import comfy.utils
from comfy.model_patcher import LowVramPatch, ModelPatcher, get_key_weight
from torch import Tensor, nn

from .adapter_groups import AdapterGroup
from .differences import (
    changed_keys,
    differ_in_weights_only,
    hooked_keys,
    memory_of_clones,
    same_objects,
    same_weights,
    why_loaded,
)
from .row_adapters import RowAdapters

logger = logging.getLogger(__name__)

_FULL_LOAD = 1e32  # ComfyUI's "as much memory as it takes", in bytes


class SharedWeights:
    """Switches networks between the MODELs cloned from them.

    Args:
        names: The MODELs of a run, with what messages call the experts on each. Of the MODELs of a network the first
            is loaded, or the base of its group.
        groups: Those that differ in adapters alone, for which weights need not be switched.
    """

    def __init__(self, names: dict[ModelPatcher, list[str]], groups: Sequence[AdapterGroup] = ()):
        self._adapters = [RowAdapters(group) for group in groups]
        found: dict[int, dict[ModelPatcher, str]] = {}
        for patcher, experts in names.items():
            clones = found.setdefault(id(patcher.model), {})
            clones.setdefault(self._bearer(patcher), " and ".join(experts))
            clones[patcher] = " and ".join(experts)
        self._networks = {key: _Network(clones) for key, clones in found.items()}

    def adapters(self, patcher: ModelPatcher) -> RowAdapters | None:
        """What serves a MODEL without a switch of weights, None where nothing does."""
        return next((each for each in self._adapters if each.is_serving and patcher in each.models), None)

    def asked_with(self, patcher: ModelPatcher) -> ModelPatcher:
        """The MODEL in whose batch one is asked, itself where it has its own."""
        adapters = self.adapters(patcher)
        return patcher if adapters is None else adapters.asked_with(patcher)

    def loaded(self, patcher: ModelPatcher) -> ModelPatcher:
        """The MODEL that is loaded for this one and all others of its network."""
        return self._networks[id(patcher.model)].loaded

    def memory(self, patcher: ModelPatcher) -> int:
        """Bytes that the MODELs of this one's network take beside the network."""
        patchers = self._networks[id(patcher.model)].patchers
        bearers = dict.fromkeys(map(self._bearer, patchers))
        added = sum(each.nbytes() for each in self._adapters if each.base in bearers)
        return memory_of_clones(list(bearers)) + added

    def is_active(self, patcher: ModelPatcher) -> bool:
        """Whether the network has the weights that this MODEL needs."""
        network = self._networks[id(patcher.model)]
        return network.active is network.owner(self._bearer(patcher))

    def has_objects_of(self, patcher: ModelPatcher) -> bool:
        """Whether the network has what this MODEL replaces beside weights, a schedule for one."""
        return same_objects(self._networks[id(patcher.model)].active.object_patches, patcher.object_patches)

    def activate(self, patcher: ModelPatcher) -> None:
        """Let the network answer as this MODEL, and make it the one that hooks and callbacks are read from."""
        self._networks[id(patcher.model)].activate(self._bearer(patcher))
        for adapters in self._adapters:
            if patcher in adapters.models and adapters.is_serving:
                adapters.give(patcher)
            elif adapters.base.model is patcher.model:
                adapters.pause()
        patcher.model.current_patcher = patcher

    def restore(self) -> None:
        """Leave every network as it was loaded; loads nothing, so that it can follow any failure."""
        for adapters in self._adapters:
            adapters.remove()
        for network in self._networks.values():
            network.restore()

    def _bearer(self, patcher: ModelPatcher) -> ModelPatcher:
        """The MODEL whose weights the network needs to answer as this one."""
        adapters = self.adapters(patcher)
        return patcher if adapters is None else adapters.base


class _Backup(NamedTuple):
    """An unpatched weight, as ComfyUI keeps it in `ModelPatcher.backup`."""

    weight: Tensor
    inplace_update: bool


@dataclass(eq=False)
class _Slot:
    """The place of one weight in the network; what is in it changes with the MODEL."""

    key: str
    module: nn.Module
    name: str

    @property
    def in_memory(self) -> bool:
        """Whether ComfyUI has patched the weight itself; a weight that was left out is patched as it is used."""
        return getattr(self.module, "comfy_patched_weights", False)

    @property
    def parameter(self) -> nn.Parameter:
        return cast(nn.Parameter, self.module._parameters[self.name])

    @parameter.setter
    def parameter(self, value: nn.Parameter) -> None:
        # Past Module.__setattr__, which takes longer than everything else here.
        self.module._parameters[self.name] = value

    @property
    def functions(self) -> list | None:
        """What is done to the weight each time it is used."""
        return vars(self.module).get(f"{self.name}_function")

    @functions.setter
    def functions(self, value: list) -> None:
        vars(self.module)[f"{self.name}_function"] = value


class _Weights(NamedTuple):
    """All by which one MODEL's weights differ from another's on the same network; lists have an entry per slot."""

    parameters: list[nn.Parameter]
    functions: list[list | None]
    backup: dict[str, Any]
    hook_backup: dict[str, Any]
    patches_uuid: Any


class _Network:
    """One network and the MODELs that share it.

    Of each MODEL those Parameters are kept that it, or another one, patches or hooks; switching exchanges them. The
    rest is common to all. ComfyUI's backups go along, so that it finds what it expects whichever MODEL is active.
    """

    def __init__(self, names: dict[ModelPatcher, str]):
        self.names = names
        self.patchers = list(names)
        self.loaded = self.active = self.patchers[0]
        self.model = self.loaded.model
        self._owners: dict[int, ModelPatcher] = {}
        self._slots: list[_Slot] = []
        self._kept: dict[int, _Weights] = {}
        self._plain: dict[str, nn.Parameter] = {}
        self._known: tuple | None = None
        self._warned = False

    def owner(self, patcher: ModelPatcher) -> ModelPatcher:
        """The first MODEL with the same weights."""
        if id(patcher) not in self._owners:
            self._owners[id(patcher)] = next(first for first in self.patchers if same_weights(first, patcher))
        return self._owners[id(patcher)]

    def activate(self, patcher: ModelPatcher) -> None:
        """Give the network this MODEL's weights."""
        patcher = self.owner(patcher)
        if self._known is not None and self._placement() != self._known:
            self._start_over()
        if patcher is not self.active:
            if differ_in_weights_only(self.active, patcher):
                self._exchange(patcher)
            else:
                self._warn_of_loading(patcher)
                self._reload(patcher)
        self._known = self._placement()

    def restore(self) -> None:
        """Give the network back the weights it was loaded with, or leave it unloaded where that takes a load."""
        if self.active is not self.loaded:
            if id(self.loaded) in self._kept and self._placement() == self._known:
                self._exchange(self.loaded)
                self.loaded.unpatch_hooks()
            else:
                self.active.unpatch_hooks()
                self.active.unpatch_model(self.active.offload_device)
                self.active = self.loaded
        self.model.current_patcher = None
        self._forget()

    def _placement(self) -> tuple:
        """What changes when ComfyUI moves or patches weights itself, to free memory in the middle of a run, say."""
        return self.model.current_weight_patches_uuid, self.model.model_loaded_weight_memory, self.model.device

    def _start_over(self) -> None:
        """Drop what no longer fits the network."""
        logger.debug("Weights were moved in the middle of a run; patching them again.")
        self._forget()
        if self.active is not self.loaded:  # ComfyUI took the weights for those of the MODEL it had loaded
            self._reload(self.active)

    def _forget(self) -> None:
        self._kept.clear()
        self._plain.clear()
        self._slots.clear()
        self._known = None

    def _warn_of_loading(self, patcher: ModelPatcher) -> None:
        if self._warned:
            return
        self._warned = True
        pair = (self.active, patcher)
        reasons = [f"{self.names[each]} {why_loaded(each)}" for each in pair if why_loaded(each)]
        logger.warning(
            "%s and %s share one network, and it is loaded anew for each at every step, which is slow, because %s; "
            "give one of them a copy of the checkpoint's file.",
            *(self.names[each] for each in pair),
            " and ".join(reasons) or "they cast weights differently",
        )

    def _reload(self, patcher: ModelPatcher) -> None:
        """Let ComfyUI patch the weights anew, in as much memory as they take now."""
        previous, self.active = self.active, self.loaded  # where loading fails, the network is left unloaded
        previous.unpatch_hooks()
        memory = self.model.model_loaded_weight_memory if self.model.model_lowvram else _FULL_LOAD
        previous.unpatch_model(previous.offload_device)
        self._forget()
        patcher.partially_load(patcher.load_device, memory)
        self.active = patcher

    def _exchange(self, patcher: ModelPatcher) -> None:
        previous = self.active
        previous.unpatch_model(unpatch_weights=False)  # objects and injections only
        # The largest first, as ComfyUI loads: patching holds a few copies of a weight, best while little else is held.
        self._slots = self._slots or sorted(self._find_slots(), key=lambda slot: (-slot.parameter.nbytes, slot.key))
        if id(patcher) not in self._kept:
            previous.unpatch_hooks()  # they write into the Parameters that the new ones are made of
        mine = self._take(previous)
        try:
            if id(patcher) in self._kept:
                self._put(patcher, self._kept.pop(id(patcher)))
            else:
                self._make(patcher, previous, mine)
        except BaseException:
            self._put(previous, mine)
            previous.patch_model(load_weights=False)
            raise
        self._kept[id(previous)] = mine
        self.active = patcher
        patcher.patch_model(load_weights=False)

    def _find_slots(self) -> Iterator[_Slot]:
        for key in set().union(*map(changed_keys, self.patchers)):
            path, _, name = key.rpartition(".")
            module = comfy.utils.get_attr(self.model, path) if path else self.model
            if module._parameters.get(name) is not None:
                yield _Slot(key, module, name)

    def _take(self, patcher: ModelPatcher) -> _Weights:
        weights = _Weights(
            [slot.parameter for slot in self._slots],
            [slot.functions for slot in self._slots],
            dict(patcher.backup),
            dict(patcher.hook_backup),
            self.model.current_weight_patches_uuid,
        )
        patcher.backup.clear()  # clones share these dictionaries
        patcher.hook_backup.clear()
        return weights

    def _put(self, patcher: ModelPatcher, weights: _Weights) -> None:
        for slot, parameter, functions in zip(self._slots, weights.parameters, weights.functions, strict=True):
            slot.parameter = parameter
            if functions is not None:
                slot.functions = functions
        for backup, entries in ((patcher.backup, weights.backup), (patcher.hook_backup, weights.hook_backup)):
            backup.clear()
            backup.update(entries)
        self.model.current_weight_patches_uuid = weights.patches_uuid

    def _make(self, patcher: ModelPatcher, previous: ModelPatcher, theirs: _Weights) -> None:
        """Put in the weights of a MODEL for the first time.

        Args:
            patcher: The MODEL.
            previous: The one whose weights are in place.
            theirs: Those weights, without hooks.
        """
        hooked = hooked_keys(patcher)
        own = hooked_keys(previous)
        for slot, parameter in zip(self._slots, theirs.parameters, strict=True):
            key, backup = slot.key, theirs.backup.get(slot.key)
            if key in patcher.patches and slot.in_memory:
                backup = backup or _Backup((_copy(parameter) if key in own else parameter).data, False)
                patcher.backup[key] = backup
                slot.parameter = nn.Parameter(backup.weight.to(patcher.load_device, copy=True), requires_grad=False)
                patcher.patch_weight_to_device(key, device_to=patcher.load_device)
                continue
            if key not in self._plain:
                if backup is not None:
                    parameter = nn.Parameter(backup.weight.to(parameter.device), requires_grad=False)
                self._plain[key] = _copy(parameter) if key in own else parameter
            slot.parameter = _copy(self._plain[key]) if key in hooked else self._plain[key]
            if slot.functions is not None and not slot.in_memory:
                slot.functions = [_function(patcher, key)] if key in patcher.patches else []
        for value in patcher.object_patches.values():
            if isinstance(value, nn.Module):
                value.to(patcher.load_device)
        self.model.current_weight_patches_uuid = patcher.patches_uuid


def _copy(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone(), requires_grad=False)


def _function(patcher: ModelPatcher, key: str) -> LowVramPatch:
    """What ComfyUI does to a weight that stays outside the device's memory."""
    _, set_weight, convert_weight = get_key_weight(patcher.model, key)
    return LowVramPatch(key, patcher.patches, convert_weight, set_weight)
