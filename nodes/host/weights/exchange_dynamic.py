"""The exchange on dynamic MODELs, whose weights are fetched at use through pages that may be taken away at any time.

ComfyUI keeps their weights unpatched where they were read. A patch is an attribute of its layer and is applied when the
weight is written into its page, which stays valid until its signature changes. Only small layers, and parameters other
than weight and bias, are patched in memory, with the originals in `backup`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import nn

from ..comfyui.cores import patch_in_use, resizes
from .differences import replaced_layers, same_patches, without_injections
from .exchange import SharedNetwork, Slot, move_objects, slots_of

_BYPASS = "bypass_lora"  # ComfyUI's key of injections that add to the outputs of layers and change no weight


class DynamicNetwork(SharedNetwork):
    """Exchanges the patches of the layers, and invalidates the pages of the weights that differ.

    It loads nothing and takes no page away. The patches made for a MODEL are kept during the run: ComfyUI may hold a
    patch in pinned memory, and would not recognize an equal one.
    """

    _kept: dict[int, list[Any]]

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Keep ComfyUI, as it loads, from mixing up what it held for clones.

        It keeps the originals of moved buffers by name, and restores them after it has exchanged objects: one
        clone's schedule would get another's noise levels. So they are restored before, and originals that belong to an
        object which may be exchanged are dropped.
        """
        with without_injections(self.patchers):
            self.patchers[0].restore_loaded_backups()
        yield
        self._drop_buffer_backups()
        if any(map(_injections_on_parameters, self.patchers)):
            invalidate_pages(self.network)  # the pages may belong to a MODEL that differs in injections alone

    def _exchange(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Put in the patches and objects of a MODEL, and invalidate the pages of the weights that they change."""
        if not self._kept.keys() >= {id(previous), id(patcher)}:
            with previous.use_ejected():  # weights are found by name, and injected layers rename them
                self._keep(previous, patcher)
        previous.unpatch_model(unpatch_weights=False)  # objects and injections only
        try:
            move_objects(patcher)
            self._put(previous, patcher)
            patcher.patch_model(load_weights=False)
        except BaseException:
            self._put(patcher, previous)
            previous.patch_model(load_weights=False)
            raise

    def _reload(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """Let ComfyUI load a MODEL, and invalidate all pages if injections change weights; else they stay valid."""
        self._forget()
        previous.eject_model()
        previous.restore_loaded_backups()  # while their objects are in place, see `loading`
        if not _same_injections(previous, patcher):
            invalidate_pages(self.network)
        patcher.partially_load(patcher.load_device)
        self._drop_buffer_backups()

    def _finish(self) -> None:
        """Drop what is kept, and restore moved buffers where MODELs have layers of a node's."""
        super()._finish()
        if any(map(replaced_layers, self.patchers)):
            with self.loaded.use_ejected():
                self.loaded.restore_loaded_backups()  # before other objects take their places, see `loading`

    def _unload(self) -> None:
        """Leave the network unloaded, without injected layers and with its moved buffers restored."""
        self.active.eject_model()
        self.active.restore_loaded_backups()
        super()._unload()

    def _keep(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        self._slots = self._slots or self._find_slots(previous)
        if id(previous) not in self._kept:
            self._kept[id(previous)] = [_content(slot) for slot in self._slots]
        if id(patcher) not in self._kept:
            self._kept[id(patcher)] = [self._make(slot, patcher) for slot in self._slots]

    def _find_slots(self, active: ModelPatcher) -> list[Slot]:
        """All slots; like ComfyUI, patches in memory the weights that a patch resizes, since their pages don't fit."""
        slots = slots_of(self.patchers)
        for slot in slots:
            resizing = (each for each in self.patchers if slot.key in each.patches and resizes(each, slot.key))
            if _is_fetched(slot) and any(resizing):
                del slot.module._v
                _invalidate(slot.module)
                path = slot.key.rpartition(".")[0]
                for name, parameter in slot.module.named_parameters(prefix=path, recurse=False):
                    active.patch_weight_to_device(name, device_to=active.load_device, force_cast=True)
                    self.network.model_loaded_weight_memory += parameter.nbytes
        return slots

    def _put(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        for slot, content in zip(self._slots, self._kept[id(patcher)], strict=True):
            if same_patches(previous.patches.get(slot.key, ()), patcher.patches.get(slot.key, ())):
                continue
            if _is_fetched(slot):
                setattr(slot.module, _patch_attribute(slot), content)
                _invalidate(slot.module)
            else:
                slot.parameter = content
        if not _same_injections(previous, patcher):
            invalidate_pages(self.network)  # nothing tells which weights an injection changes in them
        self.network.current_weight_patches_uuid = patcher.patches_uuid

    def _make(self, slot: Slot, patcher: ModelPatcher) -> Any:
        """The content of a slot for a MODEL: the patch of a weight that is fetched, or the patched weight itself."""
        if _is_fetched(slot):
            return patch_in_use(patcher, slot.key) if slot.key in patcher.patches else None
        if slot.key not in patcher.backup or not hasattr(slot.module, "comfy_cast_weights"):
            return slot.parameter  # ComfyUI doesn't patch it
        patched, slot.parameter = slot.parameter, patcher.backup[slot.key].weight
        try:
            parameter = patcher.patch_weight_to_device(
                slot.key, device_to=patcher.load_device, return_weight=True, force_cast=True
            )
        finally:
            slot.parameter = patched
        return nn.Parameter(parameter, requires_grad=False)

    def _drop_buffer_backups(self) -> None:
        """Let buffers of objects that differ between the MODELs stay on the device, which costs little memory."""
        names = {name for patcher in self.patchers for name in patcher.object_patches}
        backups = self.patchers[0].backup_buffers
        for key in [key for key in backups if any(key == name or key.startswith(f"{name}.") for name in names)]:
            del backups[key]


def invalidate_pages(network: nn.Module) -> None:
    """Make ComfyUI write all pages of a network anew at their next use."""
    for module in network.modules():
        if hasattr(module, "_v"):
            _invalidate(module)


def _is_fetched(slot: Slot) -> bool:
    """Whether the weight has a page, as those of layers above 16 kB do."""
    return hasattr(slot.module, "_v") and slot.name in ("weight", "bias")


def _invalidate(module: nn.Module) -> None:
    """Make ComfyUI write the layer's page anew at its next use."""
    vars(module)["_v_signature"] = None


def _patch_attribute(slot: Slot) -> str:
    """Name of the attribute with the patch that ComfyUI applies when it fetches the weight."""
    return f"{slot.name}_lowvram_function"


def _content(slot: Slot) -> Any:
    return getattr(slot.module, _patch_attribute(slot)) if _is_fetched(slot) else slot.parameter


def _injections_on_parameters(patcher: ModelPatcher) -> dict[str, Any]:
    """A MODEL's injections, but for those that are known to change no parameter."""
    return {key: tuple(each) for key, each in patcher.injections.items() if each and key != _BYPASS}


def _same_injections(first: ModelPatcher, second: ModelPatcher) -> bool:
    return _injections_on_parameters(first) == _injections_on_parameters(second)
