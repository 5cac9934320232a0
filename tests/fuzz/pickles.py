"""Files of `torch.save`, new and old, whose archive or pickle was spoiled."""

import io
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import torch

from .headers import HOSTILE

PROTOCOL, STOP = b"\x80\x02", b"."

_GLYPHS = "".join(map(chr, range(0x4E00, 0x9E00))).encode() * 5  # a codec of domain names takes their square in time

BOMBS: dict[str, bytes] = {
    "bytearray": b"cbuiltins\nbytearray\n" + b"\x8a\x05" + (5_300_000_000).to_bytes(5, "little") + b"\x85R",
    "bytes": b"cbuiltins\nbytes\n" + b"\x8a\x05" + (5_300_000_000).to_bytes(5, "little") + b"\x85R",
    "empty": b"ctorch\nempty\n" + b"\x8a\x05" + (5_300_000_000).to_bytes(5, "little") + b"\x85R",
    "encode": b"c_codecs\nencode\n" + b"X\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R",
    "getattr": b"cbuiltins\ngetattr\n" + b"X\x01\x00\x00\x00aX\x01\x00\x00\x00b\x86R",
    "memo": b"N" + b"r\xff\xff\xff\x7f",
    "missing memo": b"h\x63",
    "eval": b"cbuiltins\neval\n" + b"X\x01\x00\x00\x001\x85R",
    "long": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "negative long": b"\x8b" + struct.pack("<i", -1),
    "string": b"X" + struct.pack("<I", 2**32 - 1) + b"a",
    "bytearray8": b"\x96" + struct.pack("<Q", 2**40) + b"a",
    "laughs": b"(lp0\n" + b"".join(b"(h" + bytes([i]) + b"h" + bytes([i]) + b"tq" + bytes([i + 1]) for i in range(60)),
    "laughing key": b"})q\x00" + b"h\x00\x86q\x00" * 40 + b"Ns",
    "laughing set": b"c__builtin__\nset\n](" + b")q\x00" + b"h\x00\x86q\x00" * 40 + b"e\x85R",
    "deep key": b"})" + b"\x85" * 240_000 + b"Ns",
    "codec": b"c_codecs\nencode\nX" + struct.pack("<I", len(_GLYPHS)) + _GLYPHS + b"X\x08\x00\x00\x00punycode\x86R",
    "nested": b"(" * 50_000,
    "lists": b"]" * 600_000,
    "size": b"ctorch\nSize\n" + b"]" + b"\x85R",
    "ordered": b"ccollections\nOrderedDict\n" + b"K\x05\x85R",
    "counter": b"ccollections\nCounter\n" + b"X\x01\x00\x00\x00a\x85R",
    "device": b"ctorch\ndevice\n" + b"X\x03\x00\x00\x00abc\x85R",
    "persistent": b"K\x01Q",
}
"""Instructions that allocate, call, recurse or lack what they need."""


LAYOUTS: tuple[dict[str, bytes], ...] = (
    {"byteorder": b"big"},
    {".format_version": b"1", ".storage_alignment": b"0"},
    {".format_version": b"1", ".storage_alignment": b"9" * 5000},
)
"""Entries that tell how the storages lie. The first two end a process whose torch.load is to map them to "meta"."""


def archive(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with these entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


def entries_of(content: bytes) -> dict[str, bytes]:
    """The entries of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def saved(content: Any, zipped: bool = True) -> bytes:
    """What `torch.save` makes of it."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _pickle_entry(entries: dict[str, bytes]) -> str:
    return next(name for name in entries if name.endswith("data.pkl"))


def compressed(rng: random.Random, content: dict) -> bytes:
    """Entries deflated, as torch.save never writes them; perhaps a great many zeros."""
    entries = entries_of(saved(content))
    if rng.random() < 0.5:
        entries[rng.choice(list(entries))] += bytes(rng.choice((10**6, 3 * 10**8)))
    return archive(entries, zipfile.ZIP_DEFLATED)


def other_entries(rng: random.Random, content: dict) -> bytes:
    """Entries left out, several pickles, a great many entries, or other facts about all of them."""
    entries = entries_of(saved(content))
    name = _pickle_entry(entries)
    match rng.randrange(7):
        case 0:
            del entries[rng.choice(list(entries))]
        case 1:
            entries = {f"other/{rng.randrange(9)}/data.pkl": entries[name], **entries}
        case 2:
            entries |= {f"archive/data/x{i}": b"" for i in range(rng.choice((100, 60_000)))}
        case 3:
            entries = {key.replace("archive", "else") if rng.random() < 0.5 else key: v for key, v in entries.items()}
        case 4:
            entries[rng.choice(list(entries))] = b""
        case 5:
            entries |= {f"archive/{name}": text for name, text in rng.choice(LAYOUTS).items()}
        case _:
            entries["archive/constants.pkl"] = entries[name]
    return archive(entries)


def a_bomb(rng: random.Random, content: dict) -> bytes:
    """A pickle that does no more than harm, or does it beside the tensors."""
    bomb = BOMBS[rng.choice(list(BOMBS))]
    entries = entries_of(saved(content))
    name = _pickle_entry(entries)
    beside = rng.random() < 0.5
    body = b"}X\x01\x00\x00\x00x" + bomb + b"s" if beside else bomb
    spoiled = PROTOCOL + body + STOP
    if rng.random() < 0.3:
        return spoiled if rng.random() < 0.5 else _legacy_with(spoiled)
    entries[name] = spoiled
    return archive(entries)


def _legacy_with(pickled: bytes) -> bytes:
    """A file of the old format whose object is this pickle."""
    whole = io.BytesIO(saved({}, zipped=False))
    for _ in range(3):  # a magic number, a version, and what the system is like
        for _ in pickletools.genops(whole):
            pass
    return whole.getvalue()[: whole.tell()] + pickled + b"\x80\x02]q\x00."


def _operations(pickled: bytes) -> list[tuple[pickletools.OpcodeInfo, Any, int]]:
    return [(op, argument, at or 0) for op, argument, at in pickletools.genops(pickled)]


def an_operation(rng: random.Random, content: dict) -> bytes:
    """Instructions of the pickle left out, doubled, replaced or moved."""
    zipped = rng.random() < 0.7
    whole = saved(content, zipped)
    entries = entries_of(whole) if zipped else {}
    pickled = entries[_pickle_entry(entries)] if zipped else whole
    starts = [at for _, _, at in _operations(pickled)] if zipped else list(range(0, min(len(whole), 4000), 7))
    at = rng.randrange(len(starts) - 1)
    begin, end = starts[at], starts[at + 1]
    piece = pickled[begin:end]
    others = [b"", piece + piece, bytes([rng.randrange(256)]), b"N", b"}", b"]", b"0", BOMBS["bytearray"], b"K\x00"]
    spoiled = pickled[:begin] + rng.choice(others) + pickled[end:]
    if not zipped:
        return spoiled
    entries[_pickle_entry(entries)] = spoiled
    return archive(entries)


def a_number(rng: random.Random, content: dict) -> bytes:
    """Another number in the pickle: a size, a stride, an offset, a number of elements."""
    entries = entries_of(saved(content))
    name = _pickle_entry(entries)
    pickled = entries[name]
    found = [(at, op.name) for op, _, at in _operations(pickled) if op.name in ("BININT", "BININT1", "BININT2")]
    for at, kind in rng.sample(found, min(len(found), rng.choice((1, 3, 30)))):
        width = {"BININT": 5, "BININT1": 2, "BININT2": 3}[kind]
        size = width - 1
        value = rng.choice((0, 1, 2, 7, 255, 2 ** (8 * size - 1) - 1, rng.randrange(2 ** (8 * size - 1))))
        pickled = pickled[: at + 1] + value.to_bytes(size, "little") + pickled[at + width :]
    entries[name] = pickled
    return archive(entries)


def other_content(rng: random.Random, content: dict) -> bytes:
    """Other values where tensors and the description are expected."""
    choices: list[Any] = [
        rng.choice(HOSTILE),
        {**content, "mcdm": rng.choice(HOSTILE)},
        {**content, rng.choice(list(content)): rng.choice(HOSTILE)},
        {"state_dict": rng.choice(HOSTILE)},
        {"state_dict": content, "mcdm": content["mcdm"]},
        {1: torch.zeros(1), None: torch.zeros(1), **content},
        {**content, "x": torch.zeros(1).expand(10**9)},
        {**content, "x": torch.zeros(3, 4).t()},
        {**content, "x": torch.eye(3).to_sparse()},
        {**content, "x": torch.zeros(2, dtype=torch.complex64)},
        {**content, "x": torch.nn.Parameter(torch.zeros(2))},
        {
            name: value.t() if isinstance(value, torch.Tensor) and value.ndim == 2 else value
            for name, value in content.items()
        },
        {
            name: value.expand(3, *value.shape) if isinstance(value, torch.Tensor) else value
            for name, value in content.items()
        },
        {
            name: torch.full_like(value, float("nan")) if isinstance(value, torch.Tensor) else value
            for name, value in content.items()
        },
        {name: value.int() if isinstance(value, torch.Tensor) else value for name, value in content.items()},
    ]
    return saved(rng.choice(choices), zipped=rng.random() < 0.6)


def raw_bytes(rng: random.Random, content: dict) -> bytes:
    """Bytes changed, cut off or added."""
    spoiled = bytearray(saved(content, rng.random() < 0.6))
    match rng.randrange(4):
        case 0:
            for _ in range(rng.choice((1, 10, 100))):
                spoiled[rng.randrange(min(len(spoiled), 30_000))] = rng.randrange(256)
        case 1:
            for _ in range(rng.choice((1, 10))):
                spoiled[-rng.randrange(1, 4000)] = rng.randrange(256)
        case 2:
            del spoiled[rng.randrange(len(spoiled)) :]
        case _:
            spoiled += bytes(rng.choice((1, 100, 70_000)))
    return bytes(spoiled)


def untouched(rng: random.Random, content: dict) -> bytes:
    """A healthy file, with its description or without."""
    if rng.random() < 0.5:
        content = {name: value for name, value in content.items() if name != "mcdm"}
    return saved(content, rng.random() < 0.6)


MUTATIONS: tuple[Callable[[random.Random, dict], bytes], ...] = (
    *(compressed, other_entries, a_bomb, a_bomb, an_operation, an_operation, a_number, a_number, other_content),
    *(raw_bytes, untouched),
)


def mutated(rng: random.Random, content: dict) -> bytes:
    """A spoiled file."""
    return rng.choice(MUTATIONS)(rng, dict(content))
