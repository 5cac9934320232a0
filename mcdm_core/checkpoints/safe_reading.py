"""Reading tensors from files that may be damaged, mistaken or hostile."""

import io
import json
import os
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

MAX_HEADER = 100_000_000  # the limit of the safetensors format, in bytes
ZIP, PICKLE = b"PK", b"\x80"  # how files of torch.save begin, new and old
TENSOR_MODULES = {"collections", "torch", "torch._utils", "torch.storage"}  # what pickled tensors name


class CheckpointError(ValueError):
    """A file that cannot be used, in one sentence for the user."""


def read_checkpoint(path: str | os.PathLike, metadata_key: str | None = None) -> tuple[dict[str, Tensor], str | None]:
    """All tensors of a file, on the CPU, and the text stored under `metadata_key`, or None.

    The file is mapped into memory, so that nothing of it is read before it is used and nothing is held twice; only
    files that `torch.save` wrote before version 1.6 are read at once. Tensors may lie in the dictionary itself or in
    one below it called "state_dict".

    Raises:
        CheckpointError: If the file is truncated, is no checkpoint, or is a pickle with code in it.
    """
    path = Path(path)
    if _is_torch(path):
        return _read_torch(path, metadata_key)
    text = _read_header(path).get("__metadata__", {}).get(metadata_key)
    try:
        return load_file(path), text
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged ({error}); download or export it again.") from None


def read_metadata_text(path: str | os.PathLike, metadata_key: str) -> str | None:
    """The text stored under `metadata_key`, without loading the tensors of a safetensors file.

    Raises:
        CheckpointError: As `read_checkpoint`.
    """
    path = Path(path)
    if _is_torch(path):
        return _read_torch(path, metadata_key)[1]
    return _read_header(path).get("__metadata__", {}).get(metadata_key)


def _is_torch(path: Path) -> bool:
    start = _start(path)
    # A safetensors file begins with the length of its header, whose bytes may be those of "PK" or of a pickle.
    return start.startswith((ZIP, PICKLE)) and start[8:] != b"{"


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(9)


def _read_header(path: Path) -> dict:
    """Header of a safetensors file: a length, then JSON that says where each tensor lies."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begins_as_json = file.read(1) == b"{"
        if size < 10 or length > MAX_HEADER or not begins_as_json:
            raise CheckpointError(f"{path.name} is not a checkpoint; choose a .safetensors or .pt file of an expert.")
        file.seek(8)
        text = file.read(length)
    if len(text) < length:
        raise _truncated(path, 8 + length, size)
    try:
        header = json.loads(text)
        end = max(tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{path.name} is not a checkpoint: its header cannot be read; download or export it again."
        ) from None
    if size < 8 + length + end:
        raise _truncated(path, 8 + length + end, size)
    return header


def _read_torch(path: Path, metadata_key: str | None) -> tuple[dict[str, Tensor], str | None]:
    zipped = _start(path).startswith(ZIP)
    if zipped and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path.name} is truncated; download or export it again.")
    try:
        if zipped and path.suffix != ".safetensors":  # given such a path, torch would trust its extension
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        else:
            with path.open("rb") as file:
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        if _names_code(path):
            raise CheckpointError(
                f"{path.name} contains code and was not opened; use a safetensors file of this expert."
            ) from None
        raise CheckpointError(f"{path.name} is not a checkpoint, or is damaged; download or export it again.") from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError):
        raise CheckpointError(
            f"{path.name} is not a checkpoint, or is truncated; download or export it again."
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path.name} holds a {type(content).__name__} where a dictionary of tensors was expected."
        )
    nested = content.get("state_dict")
    entries = nested if isinstance(nested, dict) else content
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    return tensors, content.get(metadata_key)


def _names_code(path: Path) -> bool:
    """Whether a refused pickle asks for anything but tensors; its instructions are listed, never run."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
        return any(_names_code_in(io.BytesIO(content)) for content in pickles)
    with path.open("rb") as file:
        return _names_code_in(file)


def _names_code_in(stream: BinaryIO) -> bool:
    strings: list[str] = []
    try:
        while True:  # files of the old format hold several pickles, then raw bytes, which end the loop
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    strings += str(argument).split(" ", 1)
                elif opcode.name != "STACK_GLOBAL":
                    strings += [argument] if isinstance(argument, str) else []
                    continue
                if strings[-2] not in TENSOR_MODULES:
                    return True
    except (ValueError, IndexError, UnicodeError):
        return False


def _truncated(path: Path, expected: int, found: int) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is truncated: {expected:,} bytes were expected and {found:,} came; download or copy it again."
    )
