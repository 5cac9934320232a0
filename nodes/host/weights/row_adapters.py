"""MODELs that differ in adapters alone run as one: each adds its adapters to its own rows in the layers' outputs.

The network keeps the weights that all have in common, so no weights are exchanged, wherever ComfyUI holds them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Any

import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..comfyui.network_calls import NetworkCall, around_calls
from .patched_pass import NotAddedError, tensors_in
from .watched_layers import Addition, WatchedLayer, parents_of

logger = logging.getLogger(__name__)


class Way(Enum):
    """How a network answers as MODELs that differ in adapters alone, the cheapest first; as messages say it."""

    TOGETHER = "share their passes"
    ALONE = "are asked one after the other"
    EXCHANGED = "have their weights exchanged"


class _RowsUnknownError(NotAddedError):
    """A layer's rows can't be matched to the MODELs that share a pass."""


@dataclass(frozen=True)
class _RowOwners:
    """The MODELs that own the rows of a pass.

    Attributes:
        parts: Slices of the rows, each with the MODEL that owns it; empty where the owners are unknown.
        rows: Number of rows; None where all are one MODEL's and nobody counted them.
    """

    parts: tuple[tuple[slice, ModelPatcher], ...]
    rows: int | None = None

    @property
    def is_mixed(self) -> bool:
        return len(self.parts) != 1


@dataclass
class _Seen:
    """What was seen of a pass.

    Attributes:
        is_called: Whether the network was called; ComfyUI skips it outside its conditionings' timestep ranges.
        called: The watched layers that were called, and the modules with watched layers in them that were.
        misfit: A layer that was not given a row for each of the batch; "" if all were.
    """

    is_called: bool = False
    called: set[nn.Module] = field(default_factory=set)
    misfit: str = ""


class RowAdapters:
    """MODELs of one network that differ in adapters alone; adds these to their rows during one run.

    The first dimension of a layer's input need not be the rows: frames, heads or patches may be folded into it, and a
    sequence may be as long as the batch. So the first pass is of one MODEL, and what is seen of it decides the way in
    which the run goes on. MODELs share a pass only where the dimension equalled the number of rows before and does so
    again with another number of rows. A later pass that shows otherwise is given up, made in a dearer way, and logged.

    Args:
        base: The MODEL whose weights the network needs: it has only the patches that are common to all. An expert's
            own, or one that they were cloned from.
        additions: The other patches of each MODEL, by the names of the layers.

    Attributes:
        patchers: The MODELs that are served, in the order of the chain.
        way: How they are served; None until a pass has shown it.
    """

    def __init__(self, base: ModelPatcher, additions: dict[ModelPatcher, dict[str, Addition]]):
        self.base = base
        self.additions = additions
        self.patchers = tuple(additions)
        self.way: Way | None = None
        self._layers: list[WatchedLayer] = []
        self._handles: list[Any] = []
        self._owners: _RowOwners | None = None
        self._seen = _Seen()

    @property
    def is_serving(self) -> bool:
        """Whether adapters are added to rows; if not, each MODEL's weights have to be exchanged."""
        return self.way is not Way.EXCHANGED

    def nbytes(self) -> int:
        """Bytes that a run keeps beside the network."""
        dtype = self.base.get_model_object("manual_cast_dtype") or self.base.model_dtype()
        apart = {patcher.patches_uuid: layers for patcher, layers in self.additions.items()}
        return sum(added.nbytes(dtype) for layers in apart.values() for added in layers.values())

    def asked_with(self, patcher: ModelPatcher) -> ModelPatcher:
        """The MODEL in whose batch another is asked."""
        return self.patchers[0] if self.way is Way.TOGETHER else patcher

    def answer_as(self, patcher: ModelPatcher) -> None:
        """Add a MODEL's adapters to all rows; the base's weights have to be in place."""
        if not self._handles:
            self._attach()
        self._owners = _RowOwners(((slice(None), patcher),))

    def pause(self) -> None:
        """Add no adapters."""
        self._owners = None

    def remove(self) -> None:
        """Leave the network as it was."""
        self.pause()
        for handle in self._handles:
            handle.remove()
        for layer in reversed(self._layers):  # a layer with two names is watched twice
            layer.leave()
        self._handles.clear()
        self._layers.clear()
        self._seen = _Seen()

    @contextmanager
    def adding(self, patchers: Sequence[ModelPatcher]) -> Iterator[None]:
        """Wraps a pass of some of the MODELs, or calls of single layers as one, as some families make before passes.

        Args:
            patchers: The MODELs. The owners of the rows of several are known within `with_row_owners`.

        Raises:
            NotAddedError: If adapters were not added, or a layer's input doesn't have the rows of several MODELs; the
                way is another from now on.
        """
        before, seen = self._owners, _Seen()
        self._seen = seen
        if len(set(patchers)) > 1:
            self._owners = _RowOwners(())
        for layer in self._layers:
            layer.watch()
        try:
            yield
            if missed := [layer.path for layer in self._layers if layer.is_missed(seen.called)]:
                raise NotAddedError(f"{', '.join(missed)} is read without being called.")
        except NotAddedError as error:
            self._go_on(Way.ALONE if isinstance(error, _RowsUnknownError) else Way.EXCHANGED, str(error))
            raise
        finally:
            self._owners = before
        if seen.misfit:
            self._go_on(Way.ALONE, seen.misfit)
        elif seen.is_called and self.way is None:
            self._go_on(Way.TOGETHER)

    def with_row_owners(
        self, options: dict[str, Any], patchers: Sequence[ModelPatcher]
    ) -> AbstractContextManager[None]:
        """While it lasts, the MODELs that own the rows are known in each call of the network.

        Args:
            options: The model_options that it is called with.
            patchers: The MODEL of each conditioning in the list for ComfyUI's batching. If all are one MODEL, a node
                that replaces the batching may call with more conditionings.
        """
        alone = len(set(patchers)) == 1

        def with_owners(call: NetworkCall, args: dict[str, Any]) -> Tensor:
            before, self._seen.is_called = self._owners, True
            chunks = [0] * len(args["cond_or_uncond"]) if alone else args["cond_or_uncond"]
            self._owners = _owners_of([patchers[chunk] for chunk in chunks], len(args["input"]))
            try:
                return call(args)
            finally:
                self._owners = before

        return around_calls(options, with_owners)

    def _attach(self) -> None:
        """Hook the layers; call it after the base is loaded, which may replace them."""
        by_layer: dict[str, dict[ModelPatcher, Addition]] = {}
        for patcher, additions in self.additions.items():
            for path, addition in additions.items():
                by_layer.setdefault(path, {})[patcher] = addition
        for path, additions in by_layer.items():
            module = comfy.utils.get_attr(self.base.model, path)
            layer = WatchedLayer(path, module, parents_of(self.base.model, path), additions)
            self._layers.append(layer)
            self._handles.append(module.register_forward_hook(self._hook_of(layer), with_kwargs=True))
        for module in frozenset[nn.Module]().union(*(layer.parents for layer in self._layers)):
            self._handles.append(module.register_forward_pre_hook(lambda module, _: self._seen.called.add(module)))

    def _hook_of(self, layer: WatchedLayer) -> Callable:
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Tensor) -> Tensor:
            owners = self._owners
            if owners is None:
                return output
            if owners.is_mixed or owners.rows is not None:
                self._check(layer, owners, (*args, *kwargs.values()), output)
            self._seen.called.add(module)
            if not args:
                raise NotAddedError(f"{layer.path} is given its input by name.")
            for rows, patcher in owners.parts:
                if patcher in layer.additions:
                    output = layer.additions[patcher].add(module, args, kwargs, output, rows)
            return output

        return hook

    def _check(self, layer: WatchedLayer, owners: _RowOwners, given: tuple, output: Tensor) -> None:
        """Compare the first dimension of the layer's arguments and output with the number of rows."""
        if owners.rows is None:
            raise _RowsUnknownError("The network was called outside ComfyUI's batching.")
        fits = all(len(tensor) == owners.rows for tensor in (*tensors_in(given), output) if tensor.ndim)
        misfit = f"The input of {layer.path} does not have a row for each of the batch."
        if owners.is_mixed:
            if not fits or not layer.sizes - {owners.rows}:
                raise _RowsUnknownError(misfit)
        elif fits:
            layer.sizes.add(owners.rows)
        else:
            self._seen.misfit = misfit

    def _go_on(self, way: Way, reason: str = "") -> None:
        """Serve the MODELs in this way from now on."""
        if way is not self.way:
            level, words = (logging.DEBUG, "Experts") if self.way is None else (logging.INFO, "From now on, experts")
            logger.log(level, "%s that differ in adapters %s%s", words, way.value, f": {reason}" if reason else ".")
        self.way = way
        if way is Way.EXCHANGED:
            self.remove()


def _owners_of(patchers: Sequence[ModelPatcher], rows: int) -> _RowOwners:
    if len(set(patchers)) == 1:
        return _RowOwners(((slice(None), patchers[0]),), rows)
    size, left = divmod(rows, len(patchers))
    if left:
        raise _RowsUnknownError(f"{rows} rows can't be shared out among {len(patchers)} conditionings.")
    parts, start = [], 0
    for patcher, chunks in groupby(patchers):
        stop = start + size * len(list(chunks))
        parts.append((slice(start, stop), patcher))
        start = stop
    return _RowOwners(tuple(parts), rows)
