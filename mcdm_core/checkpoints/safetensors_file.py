"""Headers of safetensors files: a length, then JSON with the dtype, shape and place of each tensor.

safetensors itself only reads the tensors here. Its version 0.8 lists them too, but has these problems, so the checks
below come first:

- a header of 99 MB of empty objects takes 1.1 GB and 6 s, and one of 1,000,000 tensors 0.9 GB and 22 s;
- where a name occurs twice (`the_json` in tests/fuzz/headers.py), one of the two is used without an error;
- for a truncated file and for one with bytes to spare (`raw_bytes`) the error is the same, for a wrong dtype or shape
  it does not name the tensor.
"""

from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..system.fields import shown
from .contents import MAX_HEADER, Contents, Entry, Unusable, refuse_too_many, truncated
from .json_text import parse_json

METADATA = "__metadata__"

_NO_CHECKPOINT = "is not a checkpoint; choose a .safetensors or .pt file of an expert."
_UNREADABLE = "is not a checkpoint: its header cannot be read{}; download or export it again."
_MAX_DEPTH = 8  # of a header's JSON; the format has three levels

_DTYPES = {
    name: getattr(torch, dtype)
    for name, dtype in {
        "F64": "float64",
        "F32": "float32",
        "F16": "float16",
        "BF16": "bfloat16",
        "C64": "complex64",
        "I64": "int64",
        "I32": "int32",
        "I16": "int16",
        "I8": "int8",
        "U8": "uint8",
        "BOOL": "bool",
        "U64": "uint64",
        "U32": "uint32",
        "U16": "uint16",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
        "F8_E8M0": "float8_e8m0fnu",
    }.items()
    if hasattr(torch, dtype)  # older versions lack some
}


def open_safetensors(path: Path) -> Contents:
    """Read the header of a safetensors file and compare it with the file's size.

    Raises:
        Unusable: It is truncated, or is no safetensors file.
    """
    text, room = _header_text(path)
    header = _parse(text)
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Unusable(_UNREADABLE.format(f" ({METADATA} should be texts by name)"))
    refuse_too_many(len(header))
    entries = {name: _entry(name, described) for name, described in header.items()}
    _check_places(header, room, len(text))
    return Contents(entries, metadata, lambda: _read(path))


def _header_text(path: Path) -> tuple[bytes, int]:
    """The header's bytes, and the number of bytes after them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or file.read(1) != b"{" or length > 2**40:
            raise Unusable(_NO_CHECKPOINT)
        if length > MAX_HEADER:
            raise Unusable(
                f"has a header of {length:,} bytes, and that of an expert has at most {MAX_HEADER:,}; choose an expert."
            )
        file.seek(8)
        text = file.read(length)
    if len(text) < length:
        raise truncated(8 + length, size)
    return text, size - 8 - length


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = parse_json(text.decode("utf-8"), _MAX_DEPTH)
    except UnicodeError:
        raise Unusable(_UNREADABLE.format("")) from None
    except ValueError as problem:
        raise Unusable(_UNREADABLE.format(f" (it {problem})")) from None
    if not isinstance(header, dict):
        raise Unusable(_UNREADABLE.format(" (it is no JSON object)"))
    return header


def _entry(name: str, described: Any) -> Entry:
    """The tensor of a header entry, after checking that its place has as many bytes as it needs."""
    match described:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
            dtype in _DTYPES and all(type(side) is int and 0 <= side < 2**40 for side in shape)
        ):
            entry = Entry(_DTYPES[dtype], tuple(shape))
            if name.isprintable() and 0 <= begin <= end and end - begin == prod(shape) * entry.dtype.itemsize:
                return entry
    raise Unusable(
        f"is damaged: its header should give {shown(name)} a dtype, a shape and as many bytes, and gives "
        f"{shown(described)}; download or export it again."
    )


def _check_places(header: dict[str, Any], room: int, length: int) -> None:
    """Refuse tensors that overlap, leave gaps or end elsewhere than the file."""
    offset = 0
    for begin, end in sorted(tensor["data_offsets"] for tensor in header.values()):
        if begin != offset:
            raise Unusable(
                f"is damaged: after {offset:,} bytes of tensors the next should begin, and it begins at {begin:,}; "
                "download or export it again."
            )
        offset = end
    if offset > room:
        raise truncated(8 + length + offset, 8 + length + room)
    if offset < room:
        raise Unusable(f"is damaged: {room - offset:,} bytes follow its last tensor; download or export it again.")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise Unusable(f"is damaged ({error}); download or export it again.") from None
