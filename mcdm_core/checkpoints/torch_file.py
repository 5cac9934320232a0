"""Files of `torch.save`: zip archives of a pickle and its storages or, before torch 1.6, these in sequence.

Only files that `torch.save` can have written are read. The tensors are memory-mapped.

`torch.load(weights_only=True, mmap=True, map_location="meta")` would list the tensors of an archive too, but torch 2.13
trusts the archive's claims; the files named are those of tests/fuzz/pickles.py:

- "big" as byte order ends the process, and so does an alignment of 0 (`LAYOUTS`);
- entries are inflated whole (`compressed`), even unneeded ones: as the archive's version, 1 GB of zeros, which are 1 MB
  in the file, takes 1.9 GB of memory;
- a tensor may claim any shape; where it is mapped, a deflated storage (`compressed`) or one that is shorter than its
  tensors (`a_number`) gives wrong numbers without an error.

Files of the old format cannot be mapped by `torch.load` at all.
"""

import math
import struct
import zipfile
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .contents import DAMAGED, Contents, Entry, Unusable, refuse_too_many, truncated
from .pickled import MAX_PICKLE, Stored, describe_pickle

ZIP, PICKLE = b"PK", b"\x80"  # how files of torch.save begin, new and old

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # how files of the old format begin
_MAX_DIRECTORY = 2**20  # bytes of an archive's list of entries
_END, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_MAX_EXPANDED = 2**24  # bytes of expanded tensors: next to nothing in the file, but this much when computed with
_MOST_SHARED = 8  # times that a file's numbers may occur in its tensors; tied weights do so twice
_LOCAL = struct.Struct("<26x2H")  # lengths of name and extra field, before an entry's bytes

Places = Mapping[str, tuple[int, int]]
"""Where each storage begins in the file, and its length in bytes."""


def open_torch(path: Path) -> Contents:
    """Read the header of a file of `torch.save`.

    Tensors may lie in the dictionary itself or in one below it called "state_dict".

    Raises:
        Unusable: It is truncated, contains code, or cannot have been written by `torch.save`.
    """
    with path.open("rb") as file:
        zipped = file.read(len(ZIP)) == ZIP
    content, places = _open_archive(path) if zipped else _open_old(path)
    if not isinstance(content, dict):
        raise Unusable(f"holds a {type(content).__name__.lower()} where a dictionary of tensors was expected.")
    nested = content.get("state_dict")
    values = nested if isinstance(nested, dict) else content
    tensors = {name: value for name, value in values.items() if isinstance(name, str) and isinstance(value, Stored)}
    refuse_too_many(len(tensors))
    if not all(name.isprintable() for name in tensors):
        raise Unusable(DAMAGED)
    for tensor in tensors.values():
        storage = tensor.storage
        place = places.get(storage.key)
        if place is None or place[1] != storage.numel * storage.dtype.itemsize:
            raise Unusable("is damaged: it lacks the numbers of some of its tensors; download or export it again.")
    _refuse_repetition(tensors.values(), path.stat().st_size)
    entries = {name: Entry(tensor.storage.dtype, tensor.shape) for name, tensor in tensors.items()}
    texts = {name: text for name, text in content.items() if isinstance(name, str) and isinstance(text, str)}
    return Contents(entries, texts, lambda: _read(path, tensors, places))


def _refuse_repetition(tensors: Collection[Stored], size: int) -> None:
    """Refuse a file whose tensors, which may share storages, are together much larger than its `size` in bytes."""
    expanded = sum(_bytes_of(tensor) for tensor in tensors if math.prod(tensor.shape) > tensor.storage.numel)
    if expanded > _MAX_EXPANDED:
        raise Unusable(
            f"was not opened: its expanded tensors make {expanded:,} bytes of few numbers, and those of an expert at "
            f"most {_MAX_EXPANDED:,}; choose an expert, or save copies of them by contiguous()."
        )
    whole = sum(map(_bytes_of, tensors))
    if whole > _MOST_SHARED * size + _MAX_EXPANDED:
        raise Unusable(
            f"was not opened: its tensors share the same numbers over and over, {whole:,} bytes in all of a file of "
            f"{size:,}; choose an expert, or save copies of them by clone()."
        )


def _bytes_of(tensor: Stored) -> int:
    return math.prod(tensor.shape) * tensor.storage.dtype.itemsize


def _read(path: Path, tensors: Mapping[str, Stored], places: Places) -> dict[str, Tensor]:
    whole = torch.UntypedStorage.from_file(str(path), shared=False, nbytes=path.stat().st_size)
    storages: dict[str, Any] = {}
    read = {}
    for name, tensor in tensors.items():
        dtype, key = tensor.storage.dtype, tensor.storage.key
        if key not in storages:
            begin, size = places[key]
            part = whole[begin : begin + size]
            storages[key] = part.clone() if begin % dtype.itemsize else part
        read[name] = torch.empty(0, dtype=dtype).set_(storages[key], tensor.offset, tensor.shape, tensor.stride)
    return read


def _open_archive(path: Path) -> tuple[Any, Places]:
    _check_directory(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            pickled = _check_entries(entries, path.stat().st_size)
            content = describe_pickle(BytesIO(archive.read(pickled)))
            order = pickled.filename.removesuffix("data.pkl") + "byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise Unusable("was written on a machine of another byte order; use a safetensors file of this expert.")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, UnicodeError):
        raise Unusable(DAMAGED) from None
    folder = pickled.filename.removesuffix("data.pkl") + "data/"
    stored = [entry for entry in entries if entry.filename.startswith(folder)]
    with path.open("rb") as file:
        places = {}
        for entry in stored:
            file.seek(entry.header_offset)
            local = file.read(_LOCAL.size)
            if len(local) < _LOCAL.size:
                raise Unusable(DAMAGED)
            begin = entry.header_offset + _LOCAL.size + sum(_LOCAL.unpack(local))
            places[entry.filename.removeprefix(folder)] = (begin, entry.file_size)
    size = path.stat().st_size
    if any(begin + length > size for begin, length in places.values()):
        raise Unusable(DAMAGED)
    return content, places


def _check_directory(path: Path) -> None:
    """Refuse an archive without a zip file's end, or with a list of entries that is too long to go through."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _END.size))
        end = file.read()
        if len(end) < _END.size or not end.startswith(b"PK\5\6"):
            raise Unusable("is truncated; download or export it again.")
        length = _END.unpack(end)[5]
        if length == 2**32 - 1:  # ZIP64: the length is in a record before, with a locator of 20 bytes between
            file.seek(max(0, size - _END.size - 20 - _END_64.size))
            record = file.read(_END_64.size)
            if len(record) < _END_64.size or not record.startswith(b"PK\6\6"):
                raise Unusable(DAMAGED)
            length = _END_64.unpack(record)[8]
    if length > _MAX_DIRECTORY:
        raise Unusable(f"has a list of entries of {length:,} bytes, more than any file of an expert; choose an expert.")


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> zipfile.ZipInfo:
    """Refuse entries that `torch.save` does not write, and return the pickle's."""
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise Unusable("was not opened: it is compressed, as torch.save never does; use a safetensors file.")
    names = [entry.filename for entry in entries]
    pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    if len(set(names)) < len(names) or len(pickles) != 1:
        raise Unusable(
            f"was not opened: it has {len(pickles)} entries data.pkl among {len(names)}, where torch.save writes one, "
            "and each entry once; use a safetensors file of this expert."
        )
    if any(name.endswith("constants.pkl") for name in names):
        raise Unusable("contains code and was not opened (TorchScript); use a safetensors file of this expert.")
    if pickles[0].file_size > MAX_PICKLE:
        raise Unusable(
            f"was not opened: its data.pkl has {pickles[0].file_size:,} bytes, and that of an expert has at most "
            f"{MAX_PICKLE:,}; use a safetensors file of this expert."
        )
    if sum(entry.file_size for entry in entries) > size:
        raise Unusable(DAMAGED)
    return pickles[0]


def _open_old(path: Path) -> tuple[Any, Places]:
    """Read the old format: magic number, version, system information, object and order of storages, each pickled."""
    with path.open("rb") as file:
        stream = BytesIO(file.read(MAX_PICKLE))
    magic, version = describe_pickle(stream), None
    if magic == _MAGIC:
        version = describe_pickle(stream)
    if version != _VERSION:
        raise Unusable(DAMAGED)
    describe_pickle(stream)
    content = describe_pickle(stream)
    keys = describe_pickle(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Unusable(DAMAGED)
    return content, _places_of_old(path, stream.tell(), keys, _widths(content))


def _places_of_old(path: Path, begin: int, keys: list[str], widths: Mapping[str, int]) -> Places:
    """Places of storages in the old format, where each is a count of elements, then the elements."""
    size, places = path.stat().st_size, {}
    with path.open("rb") as file:
        for key in keys:
            file.seek(begin)
            numel = int.from_bytes(file.read(8), "little")
            length = numel * widths.get(key, 1)
            if begin + 8 + length > size:
                raise truncated(begin + 8 + length, size)
            places[key] = (begin + 8, length)
            begin += 8 + length
    return places


def _widths(content: Any) -> dict[str, int]:
    """Bytes per element of each storage in the content, however deep in lists and dictionaries."""
    widths: dict[str, int] = {}
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Stored):
            widths[value.storage.key] = value.storage.dtype.itemsize
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return widths
