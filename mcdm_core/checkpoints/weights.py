"""Checks that the weights in a file have usable dtypes and finite values."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..networks import UNet
from .contents import CheckpointError, Entry

COMPUTED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

_BLOCKS = ("input_blocks", "middle_block", "output_blocks")
_LARGEST = 1e12  # a damaged byte may leave a weight finite but so large that pictures are not
_checked: set[tuple[str, int, int, frozenset[str]]] = set()  # path, time, size and tensors of files found finite


def refuse_other_dtypes(tensors: Mapping[str, Tensor | Entry], file: str) -> None:
    """Refuse weights of dtypes that are not in `COMPUTED`.

    Raises:
        CheckpointError: One is of another dtype; the message names it.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in COMPUTED:
            known = ", ".join(map(_named, COMPUTED))
            raise CheckpointError(
                f"{file} has {name} in {_named(tensor.dtype)}, and weights should be in one of {known}; "
                "download or export it again."
            )


def refuse_mixed_dtypes(network: UNet, tensors: Mapping[str, Tensor | Entry], file: str) -> None:
    """Refuse weights that are computed together but differ in dtype.

    Files in half precision keep norms, embeddings and the output in single precision, so dtypes are compared only
    within each part of a network.

    Args:
        network: The network, on any device.
        tensors: Its tensors, by name.
        file: Name of the file, for messages.

    Raises:
        CheckpointError: Some differ; the message names two.
    """
    first: dict[str, str] = {}
    for layer, module in network.named_modules():
        part = _part(layer, module)
        for name, _ in module.named_parameters(layer, recurse=False):
            other = first.setdefault(part, name)
            if tensors[name].dtype != tensors[other].dtype:
                raise CheckpointError(
                    f"{file} has {name} in {_named(tensors[name].dtype)} and {other}, which is computed with it, in "
                    f"{_named(tensors[other].dtype)}; download or export it again."
                )


def _part(layer: str, module: nn.Module) -> str:
    """Name of the part of a network that must share a dtype with a layer."""
    top = layer.split(".")[0]
    if top in _BLOCKS:
        return "convolutions of the blocks" if isinstance(module, nn.Conv1d | nn.Conv2d) else layer
    return "time_embed" if top == "pooled_proj" else top


def refuse_not_finite(tensors: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Refuse weights that are NaN or infinite; a single one makes every picture black.

    The whole file is read, but only once while it stays unchanged; the check adds some 0.1 s per GB to the reading.

    Raises:
        CheckpointError: Some are; the message names their tensors.
    """
    status = Path(path).stat()
    state = str(Path(path).resolve()), status.st_mtime_ns, status.st_size, frozenset(tensors)
    if state not in _checked:
        refuse_spoiled(tensors, Path(path).name)
        _checked.add(state)


def refuse_spoiled(tensors: Mapping[str, Tensor], file: str) -> None:
    """As `refuse_not_finite`, for tensors that are in no file yet."""
    spoiled = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if spoiled:
        raise CheckpointError(
            f"{file} has weights that are NaN, infinite or beyond {_LARGEST:g} in {listed(spoiled)}; "
            "download or train it again."
        )


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.numel() or not tensor.is_floating_point():
        return True
    return all(abs(float(bound)) < _LARGEST for bound in torch.aminmax(tensor))  # both are NaN if any number is


def listed(names: Iterable[str]) -> str:
    """The first three names for a message, long ones shortened."""
    first, more = list(names)[:4], ""
    if len(first) > 3:
        first, more = first[:3], ", …"
    return ", ".join(name if len(name) <= 80 else f"{name[:80]}…" for name in first) + more


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def in_halves(network: nn.Module) -> bool:
    """Whether a whole network is in half precision; networks of mixed precision cast between dtypes themselves."""
    return {parameter.dtype for parameter in network.parameters()} in ({torch.float16}, {torch.bfloat16})
