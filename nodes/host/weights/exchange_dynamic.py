"""The exchange on MODELs whose weights are fetched as they are used, through pages that may be taken away at any time.

ComfyUI keeps their weights unpatched where they were read. A patch hangs on its layer and is applied as the weight is
written into its page, which stays good until its signature changes. Only small layers, and what is neither weight nor
bias, are patched in memory, with the originals in `backup`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import nn

from ..comfyui.cores import patch_in_use, resizes
from .differences import replaced_layers, without_injections
from .exchange import Exchange, Slot, move_objects, slots_of

_BYPASS = "bypass_lora"  # ComfyUI's key of injections that add to what layers give, and change no weight


class DynamicExchange(Exchange):
    """Exchanges what hangs on the layers, and has the pages of those weights written anew that differ.

    It loads nothing and takes no page away. What it has made of a MODEL is kept for the run: ComfyUI may hold a patch
    in pinned memory, for which a new one would be another.
    """

    def __init__(self, patchers: Sequence[ModelPatcher]):
        super().__init__(patchers)
        self._slots: list[Slot] = []
        self._kept: dict[int, list[Any]] = {}

    @contextmanager
    def loading(self) -> Iterator[None]:
        """See the base class.

        ComfyUI keeps the original of what it has moved under its name, and puts it back after it has exchanged objects:
        a clone's schedule would get the noise levels of another's. So all is put back before, and nothing is kept that
        belongs to an object which may be exchanged.
        """
        with without_injections(self.patchers):
            self.patchers[0].restore_loaded_backups()
        yield
        self._keep_buffers_apart()
        if any(map(_injections_on_weights, self.patchers)):
            self._write_all_anew()  # what is in the pages may be of a MODEL that differs in injections alone

    def exchange(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """See the base class."""
        if not self._kept.keys() >= {id(previous), id(patcher)}:
            with previous.use_ejected():  # weights are found by their names, which injected layers shift
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

    def keeps(self, patcher: ModelPatcher) -> bool:
        """See the base class."""
        return id(patcher) in self._kept

    def forget(self) -> None:
        """See the base class."""
        self._slots.clear()
        self._kept.clear()

    def reload(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        """See the base class."""
        self.forget()
        previous.eject_model()
        previous.restore_loaded_backups()  # while the objects are there that they belong to, see `loading`
        if not _same_on_weights(previous, patcher):
            self._write_all_anew()
        patcher.partially_load(patcher.load_device)
        self._keep_buffers_apart()

    def follow(self, active: ModelPatcher, loaded: ModelPatcher) -> None:
        """See the base class. Pages keep what is in them if only small layers were moved."""
        loaded.eject_model()  # which ComfyUI has injected where it has loaded it anew
        self.reload(active, active)

    def finish(self, loaded: ModelPatcher) -> None:
        """See the base class."""
        super().finish(loaded)
        if any(map(replaced_layers, self.patchers)):
            with loaded.use_ejected():
                loaded.restore_loaded_backups()  # before other objects are there, see `loading`

    def unload(self, active: ModelPatcher) -> None:
        """See the base class."""
        active.eject_model()
        active.restore_loaded_backups()
        super().unload(active)

    def _keep(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        self._slots = self._slots or self._find_slots(previous)
        if id(previous) not in self._kept:
            self._kept[id(previous)] = [_content(slot) for slot in self._slots]
        if id(patcher) not in self._kept:
            self._kept[id(patcher)] = [self._make(slot, patcher) for slot in self._slots]

    def _find_slots(self, active: ModelPatcher) -> list[Slot]:
        """All slots; as ComfyUI would, weights that a patch resizes are taken out of their pages, which don't fit."""
        slots = slots_of(self.patchers)
        for slot in slots:
            resizing = (each for each in self.patchers if slot.key in each.patches and resizes(each, slot.key))
            if _is_fetched(slot) and any(resizing):
                del slot.module._v
                _write_anew(slot.module)
                path = slot.key.rpartition(".")[0]
                for name, weight in slot.module.named_parameters(prefix=path, recurse=False):
                    active.patch_weight_to_device(name, device_to=active.load_device, force_cast=True)
                    self.model.model_loaded_weight_memory += weight.nbytes
        return slots

    def _put(self, previous: ModelPatcher, patcher: ModelPatcher) -> None:
        for slot, content in zip(self._slots, self._kept[id(patcher)], strict=True):
            if _same_patches(slot.key, previous, patcher):
                continue
            if _is_fetched(slot):
                setattr(slot.module, _function_of(slot), content)
                _write_anew(slot.module)
            else:
                slot.parameter = content
        if not _same_on_weights(previous, patcher):
            self._write_all_anew()
        self.model.current_weight_patches_uuid = patcher.patches_uuid

    def _write_all_anew(self) -> None:
        """Have all pages written anew: nothing tells which weights an injection changes where they lie."""
        for module in self.model.modules():
            if hasattr(module, "_v"):
                _write_anew(module)

    def _make(self, slot: Slot, patcher: ModelPatcher) -> Any:
        """What a MODEL has in a slot: the patch of a weight that is fetched, or the patched weight itself."""
        if _is_fetched(slot):
            return patch_in_use(patcher, slot.key) if slot.key in patcher.patches else None
        if slot.key not in patcher.backup or not hasattr(slot.module, "comfy_cast_weights"):
            return slot.parameter  # ComfyUI patches nothing in such a module
        patched, slot.parameter = slot.parameter, patcher.backup[slot.key].weight
        try:
            weight = patcher.patch_weight_to_device(
                slot.key, device_to=patcher.load_device, return_weight=True, force_cast=True
            )
        finally:
            slot.parameter = patched
        return nn.Parameter(weight, requires_grad=False)

    def _keep_buffers_apart(self) -> None:
        """Let buffers of objects that differ between the MODELs stay on the device; they are small."""
        names = {name for patcher in self.patchers for name in patcher.object_patches}
        backups = self.patchers[0].backup_buffers
        for key in [key for key in backups if any(key == name or key.startswith(f"{name}.") for name in names)]:
            del backups[key]


def _is_fetched(slot: Slot) -> bool:
    """Whether the weight has a page, as those of layers above 16 kB do."""
    return hasattr(slot.module, "_v") and slot.name in ("weight", "bias")


def _write_anew(module: nn.Module) -> None:
    """Let ComfyUI take the layer's page for one that was taken away."""
    vars(module)["_v_signature"] = None


def _function_of(slot: Slot) -> str:
    """Where ComfyUI looks for a patch as it fetches the weight."""
    return f"{slot.name}_lowvram_function"


def _content(slot: Slot) -> Any:
    return getattr(slot.module, _function_of(slot)) if _is_fetched(slot) else slot.parameter


def _same_patches(key: str, first: ModelPatcher, second: ModelPatcher) -> bool:
    mine, others = first.patches.get(key, []), second.patches.get(key, [])
    return len(mine) == len(others) and all(one is other for one, other in zip(mine, others, strict=True))


def _injections_on_weights(patcher: ModelPatcher) -> dict[str, Any]:
    """A MODEL's injections that may change weights."""
    return {key: tuple(each) for key, each in patcher.injections.items() if each and key != _BYPASS}


def _same_on_weights(first: ModelPatcher, second: ModelPatcher) -> bool:
    return _injections_on_weights(first) == _injections_on_weights(second)
