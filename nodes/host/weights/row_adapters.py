"""MODELs that differ in adapters alone run as one: each adds its adapters to its own rows in the layers' outputs.

The network keeps the weights that are common to all, so nothing is switched, wherever and however ComfyUI holds them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
class _Pass:
    """Whose rows the network is being given.

    Attributes:
        parts: Rows and the MODEL that they belong to; none where this is not known.
        rows: How many rows there are; None where all are one MODEL's and nobody counted them.
    """

    parts: tuple[tuple[slice, ModelPatcher], ...]
    rows: int | None = None

    @property
    def is_mixed(self) -> bool:
        return len(self.parts) != 1


_UNKNOWN = _Pass(())


class _Parameters(dict):
    """A module's parameters, which notice that one is looked up by its name, as `module.weight` does.

    Attributes:
        are_read: Whether one was.
    """

    are_read = False

    def __getitem__(self, name: str) -> Any:
        self.are_read = True
        return super().__getitem__(name)


@dataclass(eq=False)
class _Layer:
    """A layer that some MODEL adds to.

    Attributes:
        path: Its name in the network.
        module: The layer.
        around: The modules that it is a part of.
        additions: What each MODEL adds.
        is_called: Whether it has been called since `watch`, and has thus added what it should.
        sizes: Numbers of rows with which the first dimension of its input was seen to agree.
    """

    path: str
    module: nn.Module
    around: frozenset[nn.Module]
    additions: dict[ModelPatcher, Addition]
    is_called: bool = False
    sizes: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._own = self.module._parameters
        self._watched = vars(self.module)["_parameters"] = _Parameters(self._own)

    def watch(self) -> None:
        """Forget who has called it or read its weights."""
        self.is_called = self._watched.are_read = False

    def is_missed(self, called: set[nn.Module]) -> bool:
        """Whether its weights may have had a say since `watch` without what is added to its output.

        A layer that is neither called nor read was left out. Three things are not seen: the reading of a weight that is
        no Parameter, such as a plain tensor or a property; that what is read while no module around the layer runs is
        more than its shape; and that a layer which is called is also read in the same pass, which counts as added.

        Args:
            called: The modules that were called meanwhile.
        """
        can_tell = "weight" in self._watched
        return not self.is_called and (self._watched.are_read or not can_tell) and not called.isdisjoint(self.around)

    def leave(self) -> None:
        """Give the module its own parameters back, or what has been put in their places."""
        self._own.clear()
        self._own.update(self._watched)
        vars(self.module)["_parameters"] = self._own


class RowAdapters:
    """Adds adapters to rows during one run.

    That the first dimension of a layer's input counts rows is not taken for granted: frames, heads or places may be
    folded into it, and a sequence may be as long as the batch. The first passes are therefore of one MODEL each, and
    MODELs share a pass only where the dimension agrees with the number of rows in both, which differ.

    Args:
        group: The MODELs.

    Attributes:
        base: The MODEL whose weights the network needs.
        models: The MODELs that are served, in the order of the chain.
        is_serving: Whether passes go by this; if not, each MODEL's weights have to be exchanged.
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
        self._call: _Pass | None = None

    def nbytes(self) -> int:
        """Bytes that a run keeps beside the network."""
        dtype = self.base.get_model_object("manual_cast_dtype") or self.base.model_dtype()
        apart = {model.patches_uuid: layers for model, layers in self._additions.items()}
        return sum(added.nbytes(dtype) for layers in apart.values() for added in layers.values())

    def asked_with(self, model: ModelPatcher) -> ModelPatcher:
        """The MODEL in whose batch one is asked."""
        return self.models[0] if self._batches and self._is_watched else model

    def give(self, model: ModelPatcher) -> None:
        """Let the network answer as a MODEL, whatever it is asked; the base's weights are in place."""
        if not self._handles:
            self._attach()
        self._call = _Pass(((slice(None), model),))

    def pause(self) -> None:
        """Let the network answer as its weights are."""
        self._call = None

    def remove(self) -> None:
        """Leave the network as it was."""
        self.pause()
        for handle in self._handles:
            handle.remove()
        for layer in reversed(self._layers):  # one that has two names was watched twice
            layer.leave()
        self._handles.clear()
        self._layers.clear()
        self._called.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around a pass of one MODEL.

        Raises:
            RowsUnknownError: If adapters have not been added; the MODELs are not served any more.
        """
        self._was_asked = False
        with self._served():
            yield
        self._is_watched |= self._was_asked  # not outside the range of timesteps of all its conditionings, say

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Around a pass of several MODELs, whose rows are told by the options from `told`.

        Raises:
            RowsUnknownError: If a layer's input does not have these rows; MODELs don't share passes any more. Or as
                `watching`.
        """
        before, self._call = self._call, _UNKNOWN
        try:
            with self._served():
                yield
        except RowsUnknownError as error:
            logger.debug("Experts that differ in adapters are asked one after the other: %s", error)
            self._batches = False
            raise
        finally:
            self._call = before

    @contextmanager
    def outside_passes(self) -> Iterator[None]:
        """Around what asks some of the network's layers as one MODEL, as some families do for their conditioning.

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

    def told(self, options: dict[str, Any], models: Sequence[ModelPatcher]) -> dict[str, Any]:
        """model_options under which each call of the network is told whose its rows are.

        Args:
            options: The options.
            models: The MODEL of each conditioning in the list that ComfyUI's batching is given; where it is one for
                all, a node that replaces the batching may ask for more.
        """
        alone = len(set(models)) == 1

        def told_whose(call: NetworkCall, args: dict[str, Any]) -> Tensor:
            before, self._was_asked = self._call, True
            places = [0] * len(args["cond_or_uncond"]) if alone else args["cond_or_uncond"]
            self._call = _call_of([models[place] for place in places], len(args["input"]))
            try:
                return call(args)
            finally:
                self._call = before

        return around_calls(options, told_whose)

    def _attach(self) -> None:
        """Hook the layers, which may be other objects before the base is loaded."""
        by_layer: dict[str, dict[ModelPatcher, Addition]] = {}
        for model, additions in self._additions.items():
            for path, addition in additions.items():
                by_layer.setdefault(path, {})[model] = addition
        for path, additions in by_layer.items():
            module = comfy.utils.get_attr(self.base.model, path)
            layer = _Layer(path, module, _around(self.base.model, path), additions)
            self._layers.append(layer)
            self._handles.append(module.register_forward_hook(self._hook_of(layer), with_kwargs=True))
        for module in frozenset[nn.Module]().union(*(layer.around for layer in self._layers)):
            self._handles.append(module.register_forward_pre_hook(lambda module, _: self._called.add(module)))

    def _hook_of(self, layer: _Layer) -> Callable:
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Tensor) -> Tensor:
            call = self._call
            if call is None:
                return output
            if call.is_mixed or call.rows is not None:
                self._check(layer, call, (*args, *kwargs.values()), output)
            layer.is_called = True
            if not args:
                raise NotAddedError(f"{layer.path} is given its input by name.")
            for rows, model in call.parts:
                if model in layer.additions:
                    output = layer.additions[model].add(module, args, kwargs, output, rows)
            return output

        return hook

    def _check(self, layer: _Layer, call: _Pass, given: tuple, output: Tensor) -> None:
        """Compare the first dimension of all that the layer is given with the number of rows."""
        if call.rows is None:
            raise RowsUnknownError("The network was called outside ComfyUI's batching.")
        fits = all(len(tensor) == call.rows for tensor in (*tensors_in(given), output) if tensor.ndim)
        if not call.is_mixed:
            self._batches &= fits
            layer.sizes |= {call.rows} if fits else set()
        elif not fits or not layer.sizes - {call.rows}:
            raise RowsUnknownError(f"The input of {layer.path} does not have a row for each of the batch.")

    def _stop(self, reason: str) -> None:
        logger.debug("Experts that differ in adapters have their weights exchanged: %s", reason)
        self.is_serving = False
        self.remove()


def _call_of(models: Sequence[ModelPatcher], rows: int) -> _Pass:
    if len(set(models)) == 1:
        return _Pass(((slice(None), models[0]),), rows)
    size, left = divmod(rows, len(models))
    if left:
        raise RowsUnknownError(f"{rows} rows can't be shared out among {len(models)} conditionings.")
    parts, start = [], 0
    for model, chunks in groupby(models):
        stop = start + size * len(list(chunks))
        parts.append((slice(start, stop), model))
        start = stop
    return _Pass(tuple(parts), rows)


def _around(network: nn.Module, path: str) -> frozenset[nn.Module]:
    """The modules that the one of this name is a part of, but for the whole network."""
    names = path.split(".")[:-1]
    return frozenset(comfy.utils.get_attr(network, ".".join(names[: i + 1])) for i in range(len(names)))
