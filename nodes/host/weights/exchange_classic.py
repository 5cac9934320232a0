"""The exchange on ComfyUI's classic MODELs, which patch weights in memory as they load them."""

from __future__ import annotations

from typing import Any, NamedTuple

from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..comfyui.cores import patch_in_use
from .differences import hooked_keys
from .exchange import SharedNetwork, Slot, move_objects, slots_of

_FULL_LOAD = 1e32  # ComfyUI's "as much memory as it takes", in bytes


class _Backup(NamedTuple):
    """An unpatched weight, as ComfyUI keeps it in `ModelPatcher.backup`."""

    weight: Tensor
    inplace_update: bool


class _KeptParameters(NamedTuple):
    """The parameters in which one MODEL differs from others on its network; lists have one entry per slot."""

    parameters: list[nn.Parameter]
    functions: list[list | None]
    backup: dict[str, Any]
    hook_backup: dict[str, Any]
    patches_uuid: Any


class ClassicNetwork(SharedNetwork):
    """Exchanges Parameters.

    For each MODEL, it keeps the Parameters that any MODEL patches or hooks; all MODELs share the rest. ComfyUI's
    backups are exchanged with them, so that they fit whichever MODEL is active.
    """

    _kept: dict[int, _KeptParameters]

    def __init__(self, names: dict[ModelPatcher, str]):
        super().__init__(names)
        self._plain: dict[str, nn.Parameter] = {}
        self._memory: float | None = None

    def _exchange(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Put in the Parameters and backups of a MODEL, made where they aren't kept, and keep the previous one's."""
        previous.unpatch_model(unpatch_weights=False)  # objects and injections only
        self._slots = self._slots or slots_of(self.patchers)
        if id(patcher) not in self._kept:
            previous.unpatch_hooks()  # hooks write into the Parameters from which the new ones are made
        mine = self._take(previous)
        try:
            if id(patcher) in self._kept:
                self._put(patcher, self._kept.pop(id(patcher)))
            else:
                self._make(patcher, previous, mine)
            patcher.patch_model(load_weights=False)
        except BaseException:
            patcher.unpatch_model(unpatch_weights=False)
            self._put(previous, mine)
            previous.patch_model(load_weights=False)
            raise
        self._kept[id(previous)] = mine

    def _forget(self) -> None:
        """Drop what is kept for MODELs, and the weights that several of them have unpatched."""
        super()._forget()
        self._plain.clear()

    def _reload(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Let ComfyUI load a MODEL, into as much memory as the weights took at the first reload."""
        previous.unpatch_hooks()
        if self._memory is None:
            # One byte more, since ComfyUI loads only weights that take less than the memory it is given.
            taken = self.network.model_loaded_weight_memory + self.network.model_offload_buffer_memory
            self._memory = taken + 1 if self.network.model_lowvram else _FULL_LOAD
        previous.unpatch_model(previous.offload_device)
        self._forget()
        patcher.partially_load(patcher.load_device, self._memory)

    def _follow(self) -> None:
        """Load the active MODEL anew if ComfyUI moved another's weights; what was kept may be on another device."""
        self._forget()
        self._memory = None
        if self.active is not self.loaded:
            super()._follow()

    def _take(self, patcher: ModelPatcher) -> _KeptParameters:
        kept = _KeptParameters(
            [slot.parameter for slot in self._slots],
            [_functions(slot) for slot in self._slots],
            dict(patcher.backup),
            dict(patcher.hook_backup),
            self.network.current_weight_patches_uuid,
        )
        patcher.backup.clear()  # clones share these dictionaries
        patcher.hook_backup.clear()
        return kept

    def _put(self, patcher: ModelPatcher, kept: _KeptParameters) -> None:
        for slot, parameter, functions in zip(self._slots, kept.parameters, kept.functions, strict=True):
            slot.parameter = parameter
            if functions is not None:
                _set_functions(slot, functions)
        for backup, entries in ((patcher.backup, kept.backup), (patcher.hook_backup, kept.hook_backup)):
            backup.clear()
            backup.update(entries)
        self.network.current_weight_patches_uuid = kept.patches_uuid

    def _make(self, patcher: ModelPatcher, previous: ModelPatcher, theirs: _KeptParameters) -> None:
        """Put in the weights of a MODEL for the first time, made of those of the previous one without its hooks."""
        hooked = hooked_keys(patcher)
        own = hooked_keys(previous)
        for slot, parameter in zip(self._slots, theirs.parameters, strict=True):
            key, backup = slot.key, theirs.backup.get(slot.key)
            if key in patcher.patches and _in_memory(slot):
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
            if _functions(slot) is not None and not _in_memory(slot):
                _set_functions(slot, [patch_in_use(patcher, key)] if key in patcher.patches else [])
        move_objects(patcher)
        self.network.current_weight_patches_uuid = patcher.patches_uuid


def _in_memory(slot: Slot) -> bool:
    """Whether ComfyUI has patched the weight in memory; a weight that it offloads is patched at each use."""
    return getattr(slot.module, "comfy_patched_weights", False)


def _functions(slot: Slot) -> list | None:
    """The functions that the layer applies to the weight at each use; None where it has no such list."""
    return vars(slot.module).get(f"{slot.name}_function")


def _set_functions(slot: Slot, value: list) -> None:
    vars(slot.module)[f"{slot.name}_function"] = value


def _copy(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone(), requires_grad=False)
