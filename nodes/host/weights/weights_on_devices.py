"""The weights of a run's MODELs, and of their copies on further devices."""

from __future__ import annotations

from collections.abc import Sequence

from comfy.model_patcher import ModelPatcher

from ..comfyui.device_copies import copies_of
from .adapter_groups import AdapterGroup
from .clones import SharedWeights


class WeightsOnAllDevices(SharedWeights):
    """Lets networks answer as MODELs, and the networks of their copies with them.

    Copies share a network where their MODELs were cloned after a split, to add a LoRA for one.

    Args:
        names: The MODELs of the run, with the names of their experts in messages.
        groups: MODELs that differ in adapters alone; those with copies are in none.
    """

    def __init__(self, names: dict[ModelPatcher, list[str]], groups: Sequence[AdapterGroup] = ()):
        super().__init__(names, groups)
        self._names = names
        self._copies: dict[ModelPatcher, list[ModelPatcher]] = {}
        self._elsewhere = SharedWeights({})

    def find_copies(self) -> None:
        """Find the copies of this run; call it after they are matched and loaded."""
        self._copies = {patcher: copies_of(patcher) for patcher in self._names}
        self._elsewhere = SharedWeights(
            {copy: self._names[patcher] for patcher, copies in self._copies.items() for copy in copies}
        )

    def activate(self, patcher: ModelPatcher) -> None:
        """Let the network answer as this MODEL, and those of its copies as they."""
        super().activate(patcher)
        for copy in self._copies.get(patcher, ()):
            self._elsewhere.activate(copy)

    def restore(self) -> None:
        """Leave every network as it was loaded, those of copies too."""
        try:
            self._elsewhere.restore()
        finally:
            super().restore()
