"""Reads the pickle in a file of `torch.save` without unpickling: nothing it names is called.

`pickletools` lists the instructions; those that a file of tensors needs are followed. All others, code above all, are
refused.

`torch.load(weights_only=True)` runs no code either, but a pickle of up to 400 kB can still stop or exhaust the process,
as `BOMBS` in tests/fuzz/pickles.py do to torch 2.13:

- "deep key" ends the process, because hashing a deeply nested tuple overflows the stack;
- "laughing set", "laughing key" and "codec" do not return within 40 s;
- "bytearray" takes 5 GB.

Harmless files use the names in all of these but the last. Only values distinguish them, so a check before `torch.load`
would have to follow the values, as `_Machine` does.
"""

import math
import pickletools
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch

from .contents import DAMAGED, Unusable

MAX_PICKLE = 4 * 2**20
"""Bytes of a pickle, some twenty times what the largest published file has."""
_MAX_INSTRUCTIONS = 250_000  # ten times as many as the largest published file has
_MOST, _MOST_SIDES = 2**40, 64  # numbers of a tensor, and its dimensions; torch itself prints no more than 64

_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
_INERT = {
    *("collections.OrderedDict", "collections.Counter", "torch.Size", "torch.device", "torch._utils._rebuild_tensor"),
    "_codecs.encode",  # bytes
    *("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"),
    *("torch._utils._rebuild_parameter_with_state", "builtins.set", "__builtin__.set"),
    *(str(dtype) for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)),
    *(f"torch.{name}" for name in _STORAGES),
}
"""Names that files of tensors use; nothing is imported for them."""


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names."""

    full: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers somewhere in the file."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True)
class Stored:
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Other:
    """A value whose content is ignored."""


def describe_pickle(stream: BytesIO) -> Any:
    """Content of the pickle at the stream's position: plain values, `Stored` tensors, or `Other`.

    Raises:
        Unusable: It is damaged, is no pickle of tensors, or contains code.
    """
    try:
        return _Machine().run(stream)
    except Unusable:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError):
        raise Unusable(DAMAGED) from None


class _Machine:
    """Executes the instructions of one pickle on descriptions instead of objects."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # what lies under each mark
        self.memo: dict[int, Any] = {}

    def run(self, stream: BytesIO) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > _MAX_INSTRUCTIONS:
                raise Unusable("describes more than any file of an expert; choose an expert.")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.follow(opcode.name, argument)
        raise Unusable(DAMAGED)

    def follow(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING" | "BINBYTES" | "SHORT_BINBYTES" | "BINUNICODE8":
                stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[opcode]())
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "TUPLE":
                items = self.popped()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(opcode[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "APPEND" | "APPENDS":
                items = self.popped() if opcode == "APPENDS" else [stack.pop()]
                _expect(self.stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self.popped() if opcode == "SETITEMS" else [stack.pop(-2), stack.pop()]
                _set_items(_expect(self.stack[-1], dict), items)
            case "GLOBAL":
                stack.append(_named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named(_expect(module, str), _expect(name, str)))
            case "BINPERSID":
                stack.append(_storage(*stack.pop()))
            case "REDUCE":
                arguments = _expect(stack.pop(), tuple)
                stack.append(_made(_expect(stack.pop(), Name).full, arguments))
            case "BUILD":  # the module versions in a state_dict's `_metadata`
                state, owner = stack.pop(), stack[-1]
                _expect(owner, dict), _expect(state, dict)
            case "PROTO" | "FRAME":
                pass
            case _:
                raise Unusable(
                    f"was not opened: it has an instruction ({opcode}) that no file of tensors needs; use a "
                    "safetensors file of this expert."
                )

    def popped(self) -> list[Any]:
        """Remove and return the values above the last mark, and the mark."""
        items, self.stack = self.stack, self.below.pop()
        return items


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise Unusable(DAMAGED)
    return value


def _set_items(target: dict, items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not _is_plain(key) and not (isinstance(key, tuple) and all(map(_is_plain, key))):
            raise Unusable(DAMAGED)
        target[key] = value


def _is_plain(key: object) -> bool:
    """Whether hashing a key is fast; a tuple that holds another twice, which holds a third twice, …, takes forever."""
    return isinstance(key, str | int | float | bytes | None)


def _named(module: str, name: str) -> Name:
    full = f"{module}.{name}"
    if full not in _INERT:
        raise Unusable(
            "contains code and was not opened; use a safetensors file of this expert."
            if full.isascii() and full.isprintable()
            else DAMAGED
        )
    return Name(full)


def _storage(kind: str, storage: Name, key: str, location: str, numel: int, view: Any = None) -> Storage:
    """The storage of a persistent id."""
    if kind != "storage" or view is not None or not isinstance(key, str) or not _is_count(numel):
        raise Unusable(DAMAGED)
    return Storage(key, _STORAGES[_expect(storage, Name).full.removeprefix("torch.")], numel)


def _made(function: str, arguments: tuple[Any, ...]) -> Any:
    """Description of a call's result, from its arguments; nothing is called."""
    match function:
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
            return _tensor(*arguments[:4])
        case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
            return arguments[0]
        case "collections.OrderedDict":
            if arguments:
                raise Unusable(DAMAGED)
            return {}
        case "collections.Counter":
            return _expect(arguments[0], dict) if arguments else {}
    return Other()


def _tensor(storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Stored:
    """A tensor, after checking that all its numbers lie in its storage."""
    counts = (offset, *_expect(shape, tuple), *_expect(stride, tuple))
    if not all(map(_is_count, counts)) or len(shape) != len(stride) or len(shape) > _MOST_SIDES:
        raise Unusable(DAMAGED)
    numel = math.prod(shape)
    if numel >= _MOST:
        raise Unusable("is damaged: it has a tensor of more numbers than any file holds; download or export it again.")
    last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True)) if numel else 0
    if last >= max(1, _expect(storage, Storage).numel):
        raise Unusable("is damaged: it has a tensor of more numbers than it holds; download or export it again.")
    return Stored(storage, offset, shape, stride)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST
