"""Spoiled files drawn by hypothesis, which shrinks one that comes out badly to the least that does."""

import copy
import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from . import headers, pickles
from .headers import DTYPES, HOSTILE, File

_NAMES = ("kind", "map", "maps", "classes", "background", "low_res", "embedding", "heads", "layers", "width", "depth")
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(HOSTILE)
VALUES = st.recursive(
    _SCALARS | st.integers(0, 40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3),
    max_leaves=8,
)
"""Any JSON, small numbers and names of fields above all."""

_OFFSETS = st.lists(st.integers(-4, 70_000) | st.sampled_from((2**31, 2**63, 2**64, None, "0")), max_size=3)
_SHAPES = st.lists(st.integers(-1, 70) | st.sampled_from((2**31, 2**62, 1.5, None)), max_size=5)


@st.composite
def header_files(draw: st.DrawFn, contents: Sequence[bytes]) -> bytes:
    """A safetensors file: values of its description or entries of its tensors drawn anew, or a mutation."""
    content = draw(st.sampled_from(contents))
    way = draw(st.sampled_from(("fields", "fields", "entries", "mutation")))
    if way == "mutation":
        return headers.mutated(draw(st.randoms(use_true_random=False)), content)
    file = File(content)
    for _ in range(draw(st.integers(1, 3))):
        if way == "fields":
            owner = draw(st.sampled_from(list(_owners(file.description))))
            keys = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
            strange = _NAMES if isinstance(owner, dict) else ()
            key = draw(st.sampled_from([*keys, *keys, *strange] or [None]))
            if key in keys and draw(st.integers(0, 7)) == 0:
                del owner[key]
            elif key is not None:
                owner[key] = copy.deepcopy(draw(VALUES))
        else:
            entry = file.header[draw(st.sampled_from(file.names))]
            drawn = {"dtype": st.sampled_from(DTYPES), "shape": _SHAPES, "data_offsets": _OFFSETS}
            name = draw(st.sampled_from(list(drawn)))
            entry[name] = draw(drawn[name] | VALUES)
    return file.to_bytes()


def _owners(value: Any) -> list[Any]:
    """Every dictionary and list within, and itself."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for child in inner for each in _owners(child)] + ([value] if isinstance(value, dict | list) else [])


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _called(name: str) -> bytes:
    return b"c" + name.rpartition(".")[0].encode() + b"\n" + name.rpartition(".")[2].encode() + b"\n"


def _tuple(parts: Sequence[bytes]) -> bytes:
    return b"(" + b"".join(parts) + b"t"


_CALLED = (
    "torch.FloatStorage torch.HalfStorage torch.Size torch.int64 torch.device torch.Tensor torch.load "
    "torch._utils._rebuild_tensor torch._utils._rebuild_tensor_v2 torch._utils._rebuild_parameter "
    "torch._utils._rebuild_parameter_with_state collections.OrderedDict collections.Counter collections.defaultdict "
    "builtins.set builtins.eval builtins.bytearray _codecs.encode os.system"
)
_GLOBALS = st.sampled_from([_called(name) for name in _CALLED.split()])
_NUMBER = (st.integers(0, 255).map(lambda n: b"K" + bytes([n]))) | st.integers(-(2**31), 2**31 - 1).map(
    lambda n: b"J" + struct.pack("<i", n)
)
_LEAVES = (
    st.sampled_from((b"N", b"\x88", b"\x89", b")", b"}", b"]", b"h\x00", b"h\x01", b"G" + bytes(8), b"0", b"2", b"1"))
    | _NUMBER
    | st.sampled_from(("mcdm", "state_dict", "storage", "0", "1", "cpu", "out.2.bias", "")).map(_text)
    | _GLOBALS
)


def _storage(key: bytes, numbers: bytes) -> bytes:
    return _tuple((_text("storage"), _called("torch.FloatStorage"), key, _text("cpu"), numbers)) + b"Q"


def _tensor(parts: tuple[bytes, ...]) -> bytes:
    """A tensor of a storage, an offset, a shape, strides and what else `torch.save` says of one."""
    rest = (b"\x89", _called("collections.OrderedDict") + b")R")
    return _called("torch._utils._rebuild_tensor_v2") + _tuple((*parts, *rest)) + b"R"


def _grown(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    several = st.lists(inner, max_size=4)
    numbers = st.lists(_NUMBER | inner, max_size=3).map(_tuple)
    keys = st.sampled_from(("0", "1", "99")).map(_text) | inner
    return (
        several.map(_tuple)
        | several.map(lambda parts: b"](" + b"".join(parts) + b"e")
        | several.map(lambda parts: b"}(" + b"".join(parts) + b"u")
        | st.tuples(_GLOBALS | inner, several.map(_tuple)).map(lambda parts: b"".join(parts) + b"R")
        | st.tuples(inner, inner).map(lambda parts: b"".join(parts) + b"b")
        | st.tuples(inner, st.sampled_from((b"q\x00", b"q\x01", b"Q", b"a", b"s", b"\x85", b"0"))).map(b"".join)
        | st.tuples(st.builds(_storage, keys, _NUMBER | inner), _NUMBER | inner, numbers, numbers).map(_tensor)
    )


_PROGRAMS = st.recursive(_LEAVES, _grown, max_leaves=12)


@st.composite
def pickle_files(draw: st.DrawFn, contents: Sequence[dict]) -> bytes:
    """A file of `torch.save`: a pickle that was drawn, alone or as one more entry of an expert's, or a mutation."""
    content = draw(st.sampled_from(contents))
    if draw(st.integers(0, 2)) == 0:
        return pickles.mutated(draw(st.randoms(use_true_random=False)), content)
    program = draw(_PROGRAMS)
    entries = pickles.entries_of(pickles.saved(content))
    name = next(name for name in entries if name.endswith("data.pkl"))
    if draw(st.booleans()):
        entries[name] = entries[name][:-1] + _text("odd") + program + b"s" + pickles.STOP
    else:
        entries[name] = pickles.PROTOCOL + b"}" + _text("odd") + program + b"s" + pickles.STOP
    return pickles.archive(entries)
