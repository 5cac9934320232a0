"""MODELs that share one network, such as a checkpoint with and without a LoRA: it answers as each of them in turn.

MODELs that differ in adapters alone add them to their own rows; for others, the weights that differ are exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar

from comfy.model_patcher import ModelPatcher

from ..comfyui.cores import drop_prefetched
from ..comfyui.devices import copies_of
from ..comfyui.network_calls import forget_prompts, undoing
from .differences import memory_of_clones, same_objects
from .exchange import SharedNetwork
from .exchange_classic import ClassicNetwork
from .exchange_dynamic import DynamicNetwork
from .patched_pass import NotAddedError
from .row_adapters import RowAdapters

Result = TypeVar("Result")


class SharedNetworks:
    """Lets networks answer as the MODELs cloned from them, and the networks of copies on further devices with them.

    Copies share a network where their MODELs were cloned after a split, to add a LoRA for one.

    Args:
        names: The MODELs of a run, with the names of their experts in messages. Of the MODELs of a network, the first
            or the base of its `RowAdapters` is loaded.
        adapters: What adds adapters to rows for MODELs that differ in these alone, so that no weights are exchanged
            between them; MODELs with copies are in none.
    """

    def __init__(self, names: dict[ModelPatcher, str], adapters: Sequence[RowAdapters] = ()):
        self._names = names
        self._adapters = adapters
        self._copies: dict[ModelPatcher, list[ModelPatcher]] = {}
        self._of_copies: SharedNetworks | None = None
        by_network: dict[int, dict[ModelPatcher, str]] = {}
        for patcher, name in names.items():
            clones = by_network.setdefault(id(patcher.model), {})
            clones.setdefault(self._base_of(patcher), name)
            clones[patcher] = name
        self._shared: dict[int, SharedNetwork] = {}
        for key, clones in by_network.items():
            kind = DynamicNetwork if next(iter(clones)).is_dynamic() else ClassicNetwork
            self._shared[key] = kind(clones)

    def asked_with(self, patcher: ModelPatcher) -> ModelPatcher:
        """The MODEL in whose batch another is asked; the same one where it has its own batch."""
        adapters = self._adapters_of(patcher)
        return patcher if adapters is None else adapters.asked_with(patcher)

    def loaded(self, patcher: ModelPatcher) -> ModelPatcher:
        """The MODEL that is loaded for this one and all others of its network."""
        return self._shared[id(patcher.model)].loaded

    def memory(self, patcher: ModelPatcher) -> int:
        """Bytes beside the network that all MODELs of this one's network take together."""
        patchers = self._shared[id(patcher.model)].patchers
        bases = dict.fromkeys(map(self._base_of, patchers))
        added = sum(each.nbytes() for each in self._adapters if each.base in bases)
        return memory_of_clones(list(bases)) + added

    def is_shared(self, patcher: ModelPatcher) -> bool:
        """Whether another MODEL of this run has the same network."""
        return len(self._shared[id(patcher.model)].patchers) > 1

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Wraps ComfyUI's loading of the networks, once a run."""
        with ExitStack() as stack:
            for shared in self._shared.values():
                stack.enter_context(shared.loading())
            yield

    def find_copies(self) -> None:
        """Find the copies of this run; call it after they are matched and loaded."""
        self._copies = {patcher: copies_of(patcher) for patcher in self._names}
        names = {copy: self._names[patcher] for patcher, copies in self._copies.items() for copy in copies}
        self._of_copies = SharedNetworks(names) if names else None

    def is_active(self, patcher: ModelPatcher) -> bool:
        """Whether the network has the weights that this MODEL needs."""
        shared = self._shared[id(patcher.model)]
        return shared.active is shared.owner(self._base_of(patcher))

    def has_objects_of(self, patcher: ModelPatcher) -> bool:
        """Whether the network has the objects that this MODEL replaces, such as its schedule."""
        return same_objects(self._shared[id(patcher.model)].active.object_patches, patcher.object_patches)

    def activate(self, patcher: ModelPatcher) -> None:
        """Let the network answer as this MODEL, and make it the one that hooks and callbacks are read from."""
        self._shared[id(patcher.model)].activate(self._base_of(patcher))
        if self.is_shared(patcher):
            forget_prompts(patcher.model)
        for adapters in self._adapters:
            if patcher in adapters.patchers and adapters.is_serving:
                adapters.answer_as(patcher)
            elif adapters.base.model is patcher.model:
                adapters.pause()
        if patcher.model.current_patcher is not patcher:  # to some networks, setting it means that a run begins
            patcher.model.current_patcher = patcher
        if self._of_copies is not None:
            for copy in self._copies.get(patcher, ()):
                self._of_copies.activate(copy)

    def in_one_pass(
        self,
        patchers: Sequence[ModelPatcher],
        options: dict[str, Any],
        make: Callable[[AbstractContextManager[None]], Result],
    ) -> Result | None:
        """Make a pass in which MODELs are asked together, see `asked_with`.

        Args:
            patchers: The MODEL of each conditioning in the list for ComfyUI's batching.
            options: The model_options that the network is asked with.
            make: Makes the pass, within the context that it is given.

        Returns:
            What `make` returns; None if the pass was given up and each MODEL is to be asked again in one of its own,
            which ends, since every time the MODELs go on in a dearer `Way`.
        """
        self.activate(patchers[0])
        adapters = self._adapters_of(patchers[0])
        if adapters is None:
            return make(nullcontext())
        undo = undoing(options)
        try:
            with adapters.adding(patchers):
                return make(adapters.with_row_owners(options, patchers))
        except NotAddedError:
            undo()
            drop_prefetched(patchers[0].model)  # of the pass that was given up
            return None

    def as_model(self, patcher: ModelPatcher, function: Callable[[], Result]) -> Result:
        """The result of a function that may call some of a MODEL's layers outside its passes."""
        self.activate(patcher)
        adapters = self._adapters_of(patcher)
        if adapters is not None:
            try:
                with adapters.adding([patcher]):
                    return function()
            except NotAddedError:  # from now on this MODEL's weights are exchanged
                self.activate(patcher)
        return function()

    def restore(self) -> None:
        """Leave every network as it was loaded; loads nothing, so it is safe after any failure."""
        with ExitStack() as stack:  # restores the others even where one fails
            for shared in self._shared.values():
                stack.callback(shared.restore)
            for adapters in self._adapters:
                stack.callback(adapters.remove)
            if self._of_copies is not None:
                stack.callback(self._of_copies.restore)

    def _base_of(self, patcher: ModelPatcher) -> ModelPatcher:
        """The MODEL whose weights the network needs to answer as this one: the base of its adapters, or itself."""
        adapters = self._adapters_of(patcher)
        return patcher if adapters is None else adapters.base

    def _adapters_of(self, patcher: ModelPatcher) -> RowAdapters | None:
        """The row adapters that serve a MODEL; None where its weights are exchanged."""
        return next((each for each in self._adapters if each.is_serving and patcher in each.patchers), None)
