"""MODELs that differ in adapters alone run as one: each adds its adapters to its own rows in the layers' outputs.

The network keeps the weights that all have in common, so no weights are exchanged, wherever ComfyUI holds them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..comfyui.network_calls import NetworkCall, around_calls
from .adapter_groups import AdapterGroup, Addition
from .patched_pass import NotAddedError, tensors_in

logger = logging.getLogger(__name__)


class RowsUnknownError(Exception):
    """A layer's rows can't be matched to experts, or its adapters were not added; this pass is discarded."""


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


_UNKNOWN = _RowOwners(())


class _Parameters(dict):
    """A module's parameters, which record lookups by name, such as `module.weight`.

    Attributes:
        are_read: Whether any was looked up.
    """

    are_read = False

    def __getitem__(self, name: str) -> Any:
        self.are_read = True
        return super().__getitem__(name)


@dataclass(eq=False)
class _Layer:
    """A layer that some MODEL has an adapter for.

    Attributes:
        path: Its name in the network.
        module: The layer.
        parents: The modules that contain it.
        additions: The adapter of each MODEL.
        is_called: Whether it was called since `watch`, so that its adapters were added.
        sizes: The numbers of rows that the first dimension of its input has matched so far.
    """

    path: str
    module: nn.Module
    parents: frozenset[nn.Module]
    additions: dict[ModelPatcher, Addition]
    is_called: bool = False
    sizes: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._own = self.module._parameters
        self._watched = vars(self.module)["_parameters"] = _Parameters(self._own)

    def watch(self) -> None:
        """Forget earlier calls of the layer and lookups of its weights."""
        self.is_called = self._watched.are_read = False

    def is_missed(self, called: set[nn.Module]) -> bool:
        """Whether the network may have used its weights since `watch` without adding its adapters.

        A layer that is neither called nor read was skipped. Three uses go unnoticed: reading a weight that is no
        Parameter, such as a plain tensor or a property; reading more than the shape while no parent of the layer runs;
        and reading the weight of a layer that is also called in the same pass, which counts as added.

        Args:
            called: The modules that were called since `watch`.
        """
        can_tell = "weight" in self._watched
        return not self.is_called and (self._watched.are_read or not can_tell) and not called.isdisjoint(self.parents)

    def leave(self) -> None:
        """Give the module back its own dictionary of parameters, with the current ones in it."""
        self._own.clear()
        self._own.update(self._watched)
        vars(self.module)["_parameters"] = self._own


class RowAdapters:
    """Adds adapters to rows during one run.

    The first dimension of a layer's input need not be the rows: frames, heads or places may be folded into it, and a
    sequence may be as long as the batch. The first passes are therefore of one MODEL each. MODELs share a pass only
    where the dimension equalled the number of rows before and does so again with another number of rows.

    Args:
        group: The MODELs.

    Attributes:
        base: The MODEL whose weights the network needs.
        models: The MODELs that are served, in the order of the chain.
        is_serving: Whether adapters are added to rows; if not, each MODEL's weights have to be exchanged.
    """

    def __init__(self, group: AdapterGroup):
        self.base = group.base
        self.models = tuple(group.additions)
        self.is_serving = True
        self._additions = group.additions
        self._batches = True
        self._is_watched = False
        self._was_asked = False
        self._layers: list[_Layer] = []
        self._called: set[nn.Module] = set()
        self._handles: list[Any] = []
        self._owners: _RowOwners | None = None

    def nbytes(self) -> int:
        """Bytes that a run keeps beside the network."""
        dtype = self.base.get_model_object("manual_cast_dtype") or self.base.model_dtype()
        apart = {model.patches_uuid: layers for model, layers in self._additions.items()}
        return sum(added.nbytes(dtype) for layers in apart.values() for added in layers.values())

    def asked_with(self, model: ModelPatcher) -> ModelPatcher:
        """The MODEL in whose batch another is asked."""
        return self.models[0] if self._batches and self._is_watched else model

    def answer_as(self, model: ModelPatcher) -> None:
        """Add a MODEL's adapters to all rows; the base's weights have to be in place."""
        if not self._handles:
            self._attach()
        self._owners = _RowOwners(((slice(None), model),))

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
        self._called.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Wraps a pass of one MODEL.

        Raises:
            RowsUnknownError: If adapters were not added; from then on the MODELs' weights are exchanged.
        """
        self._was_asked = False
        with self._served():
            yield
        self._is_watched |= self._was_asked  # ComfyUI skips the network outside its conditionings' timestep ranges

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Wraps a pass of several MODELs, within `with_row_owners`.

        Raises:
            RowsUnknownError: If a layer's input does not have these rows; from then on MODELs don't share passes. Or as
                `watching`.
        """
        before, self._owners = self._owners, _UNKNOWN
        try:
            with self._served():
                yield
        except RowsUnknownError as error:
            logger.debug("Experts that differ in adapters are asked one after the other: %s", error)
            self._batches = False
            raise
        finally:
            self._owners = before

    @contextmanager
    def outside_passes(self) -> Iterator[None]:
        """Wraps calls of single layers as one MODEL, as some families make for their conditioning.

        Raises:
            RowsUnknownError: As `watching`.
        """
        with self._served():
            yield

    @contextmanager
    def _served(self) -> Iterator[None]:
        self._called.clear()
        for layer in self._layers:
            layer.watch()
        try:
            yield
            if missed := [layer.path for layer in self._layers if layer.is_missed(self._called)]:
                raise NotAddedError(f"{', '.join(missed)} is read without being called.")
        except NotAddedError as error:
            self._stop(str(error))
            raise RowsUnknownError from error

    def with_row_owners(self, options: dict[str, Any], models: Sequence[ModelPatcher]) -> AbstractContextManager[None]:
        """While it lasts, the MODELs that own the rows are known in each call of the network.

        Args:
            options: The model_options that it is asked with.
            models: The MODEL of each conditioning in the list for ComfyUI's batching. If all are one MODEL, a node that
                replaces the batching may ask with more conditionings.
        """
        alone = len(set(models)) == 1

        def with_owners(call: NetworkCall, args: dict[str, Any]) -> Tensor:
            before, self._was_asked = self._owners, True
            places = [0] * len(args["cond_or_uncond"]) if alone else args["cond_or_uncond"]
            self._owners = _owners_of([models[place] for place in places], len(args["input"]))
            try:
                return call(args)
            finally:
                self._owners = before

        return around_calls(options, with_owners)

    def _attach(self) -> None:
        """Hook the layers; call it after the base is loaded, which may replace them."""
        by_layer: dict[str, dict[ModelPatcher, Addition]] = {}
        for model, additions in self._additions.items():
            for path, addition in additions.items():
                by_layer.setdefault(path, {})[model] = addition
        for path, additions in by_layer.items():
            module = comfy.utils.get_attr(self.base.model, path)
            layer = _Layer(path, module, _parents(self.base.model, path), additions)
            self._layers.append(layer)
            self._handles.append(module.register_forward_hook(self._hook_of(layer), with_kwargs=True))
        for module in frozenset[nn.Module]().union(*(layer.parents for layer in self._layers)):
            self._handles.append(module.register_forward_pre_hook(lambda module, _: self._called.add(module)))

    def _hook_of(self, layer: _Layer) -> Callable:
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Tensor) -> Tensor:
            owners = self._owners
            if owners is None:
                return output
            if owners.is_mixed or owners.rows is not None:
                self._check(layer, owners, (*args, *kwargs.values()), output)
            layer.is_called = True
            if not args:
                raise NotAddedError(f"{layer.path} is given its input by name.")
            for rows, model in owners.parts:
                if model in layer.additions:
                    output = layer.additions[model].add(module, args, kwargs, output, rows)
            return output

        return hook

    def _check(self, layer: _Layer, owners: _RowOwners, given: tuple, output: Tensor) -> None:
        """Compare the first dimension of the layer's arguments and output with the number of rows."""
        if owners.rows is None:
            raise RowsUnknownError("The network was called outside ComfyUI's batching.")
        fits = all(len(tensor) == owners.rows for tensor in (*tensors_in(given), output) if tensor.ndim)
        if not owners.is_mixed:
            self._batches &= fits
            layer.sizes |= {owners.rows} if fits else set()
        elif not fits or not layer.sizes - {owners.rows}:
            raise RowsUnknownError(f"The input of {layer.path} does not have a row for each of the batch.")

    def _stop(self, reason: str) -> None:
        logger.debug("Experts that differ in adapters have their weights exchanged: %s", reason)
        self.is_serving = False
        self.remove()


def _owners_of(models: Sequence[ModelPatcher], rows: int) -> _RowOwners:
    if len(set(models)) == 1:
        return _RowOwners(((slice(None), models[0]),), rows)
    size, left = divmod(rows, len(models))
    if left:
        raise RowsUnknownError(f"{rows} rows can't be shared out among {len(models)} conditionings.")
    parts, start = [], 0
    for model, chunks in groupby(models):
        stop = start + size * len(list(chunks))
        parts.append((slice(start, stop), model))
        start = stop
    return _RowOwners(tuple(parts), rows)


def _parents(network: nn.Module, path: str) -> frozenset[nn.Module]:
    """The modules that contain the one of this name, without the network itself."""
    names = path.split(".")[:-1]
    return frozenset(comfy.utils.get_attr(network, ".".join(names[: i + 1])) for i in range(len(names)))
