"""Writes files of each format, all through `writer`."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .writer import refused, replacing, writing


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes; as `writing`."""
    with writing(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 with the line ends of `text`, on Windows too; as `writing`."""
    write_bytes(path, text.encode())


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors with metadata; as `replacing`."""
    with replacing(path) as partial:
        try:
            save_file(_unshared(tensors), partial, metadata=metadata or None)
        except SafetensorError as error:
            raise refused(path, error) from error


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, contiguous and each with its own storage, as safetensors needs them."""
    taken: set[int] = set()
    unshared = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        address = own.untyped_storage().data_ptr()
        unshared[name] = own.clone() if address in taken else own
        taken.add(address)
    return unshared


def write_state(path: str | os.PathLike, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values for `torch.load`; as `writing`."""
    with writing(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch's own, about the position in the file, hides why a write failed
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def write_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write an array as `.npy`; as `writing`."""
    array = np.ascontiguousarray(array)
    with writing(path) as file:  # `np.save` writes by the descriptor, and loses the reason of a failure
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
