"""Reading tensors from files that may be damaged, mistaken or hostile."""

import os
from pathlib import Path

from torch import Tensor

from .contents import CheckpointError, Contents, Unusable
from .safetensors_file import open_safetensors
from .torch_file import PICKLE, ZIP, open_torch


def open_checkpoint(path: str | os.PathLike) -> Contents:
    """Read a file's header, but none of its tensors.

    It takes less than a second and some 50 MB at most, whatever the file contains.

    Raises:
        CheckpointError: If the file is truncated, is no checkpoint, or is a pickle with code in it.
    """
    path = Path(path)
    try:
        return open_torch(path) if _is_torch(path) else open_safetensors(path)
    except Unusable as problem:
        raise CheckpointError(f"{path.name} {problem}") from None


def read_checkpoint(path: str | os.PathLike, metadata_key: str | None = None) -> tuple[dict[str, Tensor], str | None]:
    """All tensors of a file, on the CPU, and the text stored under `metadata_key`, or None.

    The file is memory-mapped: numbers are read when they are first used, and none is held twice.

    Raises:
        CheckpointError: As `open_checkpoint`.
    """
    contents = open_checkpoint(path)
    return read_tensors(contents, path), contents.texts.get(metadata_key or "")


def read_tensors(contents: Contents, path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of an opened file.

    Raises:
        CheckpointError: If they cannot be mapped into memory.
    """
    try:
        return contents.read()
    except Unusable as problem:
        raise CheckpointError(f"{Path(path).name} {problem}") from None


def _is_torch(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    # A safetensors file begins with the length of its header in 8 bytes, which may equal "PK" or a pickle's start.
    return head.startswith((ZIP, PICKLE)) and head[8:] != b"{"
