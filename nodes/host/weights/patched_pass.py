"""Any of ComfyUI's patches for some rows of a layer: the layer runs once more on these rows, with patched weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import comfy.lora
import torch
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor, nn

from ..comfyui.cores import outside_memory_graph
from ..comfyui.network_calls import holding

_PLAIN = (bool, int, float, complex, str, torch.dtype, torch.device, type(None))

Patch = tuple[float, Any, float, Any, Any]  # ComfyUI's: strength, difference, factor of the weight, slice, function


class NotAddedError(Exception):
    """A MODEL's patches can't be added to some rows of a layer, or were not; its pass counts for nothing."""


class PatchedPass:
    """Replaces a layer's output for the rows of one MODEL by that of the MODEL's weights.

    The patches are applied after those already in the network's weights, in ComfyUI's own arithmetic. Only the copy
    that the layer computes with is patched, wherever ComfyUI keeps the weights.

    Args:
        patches: ComfyUI's patches by the name of the parameter, "weight" or "bias".
        path: The layer's name in the network.
    """

    def __init__(self, patches: Mapping[str, Sequence[Patch]], path: str):
        self._functions = {name: _PatchFunction(each, f"{path}.{name}") for name, each in patches.items()}

    def nbytes(self, dtype: torch.dtype) -> int:
        """Bytes that it keeps during a run: the patches in their own dtype."""
        return sum(function.nbytes for function in self._functions.values())

    def add(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Tensor, rows: slice) -> Tensor:
        """Replace the network's output by the MODEL's, for its rows; see `LowRank.add`.

        Raises:
            NotAddedError: If the layer did not apply the patches, or can't be run for some rows alone.
        """
        if _would_patch_twice(module):
            raise NotAddedError(f"{type(module).__name__} has its weights fetched ahead, and patched where they came.")
        if any(_share_memory(given, output) for given in tensors_in((*args, *kwargs.values()))):
            raise NotAddedError(f"{type(module).__name__} writes into what it is given, and can't be run twice.")
        args, kwargs = _of_rows(args, rows), {name: _of_rows(value, rows) for name, value in kwargs.items()}
        functions = {}
        for name, function in self._functions.items():
            function.used = False
            functions[f"{name}_function"] = [*getattr(module, f"{name}_function"), function]
        with holding(vars(module), functions):
            answer = module.forward(*args, **kwargs)
        if not all(function.used for function in self._functions.values()):
            raise NotAddedError(f"{type(module).__name__} doesn't fetch its weights as ComfyUI's layers do.")
        output[rows] = answer
        return output


class _PatchFunction:
    """Patches a parameter each time a layer fetches it, as ComfyUI's `LowVramPatch`, but never in place.

    The fetched tensor may be the parameter itself. It patches in float32, as ComfyUI patches parameters in memory.

    Attributes:
        used: Whether a layer has called it since this was last reset.
    """

    def __init__(self, patches: Sequence[Patch], key: str):
        self.used = False
        self._patches = patches
        self._key = key
        self._kept: dict[torch.device, list[Patch]] = {}

    def __call__(self, parameter: Tensor) -> Tensor:
        self.used = True
        device = parameter.device
        if device not in self._kept:
            with outside_memory_graph():
                self._kept[device] = [(s, _moved(v, device), *rest) for s, v, *rest in self._patches]
        dtype = float_type(parameter.dtype)
        exact = parameter.to(dtype, copy=True)
        patches = self._kept[device]
        return comfy.lora.calculate_weight(patches, exact, self._key, intermediate_dtype=dtype).to(parameter.dtype)

    @property
    def nbytes(self) -> int:
        values = (getattr(value, "weights", value) for _, value, *_ in self._patches)  # adapters keep tensors there
        return sum(tensor.nbytes for tensor in tensors_in([*values]))


def _would_patch_twice(module: nn.Module) -> bool:
    """Whether ComfyUI would patch a prefetched weight in place again at each use in one pass."""
    functions = (getattr(module, f"{name}_lowvram_function", None) for name in ("weight", "bias"))
    return hasattr(module, "_prefetch") and any(function is not None for function in functions)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors among a layer's arguments, or in what patches hold."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from tensors_in(each)


def _share_memory(first: Tensor, second: Tensor) -> bool:
    if type(first) is not type(second):  # a quantized tensor has no memory of its own
        return False
    address = first.untyped_storage().data_ptr()  # 0 for an empty storage
    return address != 0 and address == second.untyped_storage().data_ptr()


def _of_rows(value: Any, rows: slice) -> Any:
    """Some rows of a layer's argument; tensors without dimensions and plain values hold for all rows."""
    if isinstance(value, Tensor):
        return value[rows] if value.ndim else value
    if type(value) in (tuple, list):
        return type(value)(_of_rows(each, rows) for each in value)
    if isinstance(value, _PLAIN):
        return value
    raise NotAddedError(f"A layer is given a {type(value).__name__} beside its input, which may do anything to rows.")


def float_type(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which to compute weights that are used in `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _moved(value: Any, device: torch.device) -> Any:
    """A patch's value with its tensors on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, WeightAdapterBase):
        return type(value)(value.loaded_keys, _moved(value.weights, device))
    return type(value)(_moved(each, device) for each in value) if isinstance(value, (tuple, list)) else value
