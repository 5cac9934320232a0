"""Safetensors files whose header, description or weights were spoiled."""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 5, 7, 8, 33, 1000, 30_000, 10**6, 10**9, 2**31, 2**63, 10**30, -(10**9)),
    *(0.0, 0.5, -0.5, 1.5, 1e-30, 1e30, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", "a", "hair", "sketch", "no\nline", "\ud800", "é" * 500, "3", "../../x", "linear", "flow", "eps"),
    *([], [[]], [0], [1], [1, 2], [2, 1], [-1], [1e9], ["hair"], ["hair", "hair"], [None], ["x"] * 300, [1] * 200),
    *({}, {"a": 1}, {"kind": "none"}, [{}], {"": {"": {}}}),
)
"""Values of every type and size, of which some suit some fields."""

DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "X", "", 3)


class File:
    """A safetensors file taken apart."""

    def __init__(self, content: bytes):
        length = int.from_bytes(content[:8], "little")
        self.header = json.loads(content[8 : 8 + length])
        self.description = json.loads(self.header["__metadata__"]["mcdm"])
        self.data = bytearray(content[8 + length :])

    @property
    def names(self) -> list[str]:
        """Names of the tensors."""
        return [name for name in self.header if name != "__metadata__"]

    def to_bytes(self) -> bytes:
        """Put together again."""
        metadata = self.header.get("__metadata__")
        if isinstance(metadata, dict) and "mcdm" in metadata:
            metadata["mcdm"] = json.dumps(self.description)
        return joined(json.dumps(self.header).encode(), bytes(self.data))


def joined(header: bytes, data: bytes) -> bytes:
    """A safetensors file of any header."""
    return len(header).to_bytes(8, "little") + header + data


def other_tensors(rng: random.Random, file: File) -> bytes:
    """Tensors left out, doubled, renamed, or a great many of them."""
    name = rng.choice(file.names)
    match rng.randrange(4):
        case 0:
            del file.header[name]
        case 1:
            file.header[
                rng.choice(("x", "", "input_blocks.9.0.weight", "text_encoder.x", "transformer.resblocks."))
            ] = file.header[name]
        case 2:
            many = rng.choice((100, 20_000, 300_000))
            file.header |= {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(many)}
        case _:
            file.header[name + "x"] = file.header.pop(name)
    return file.to_bytes()


def all_dtypes(rng: random.Random, file: File) -> bytes:
    """Some or all tensors of another dtype of the same width."""
    share = rng.choice((0.02, 0.5, 1.0))
    for name in file.names:
        if rng.random() < share:
            file.header[name]["dtype"] = rng.choice(("I32", "U32", "F32"))
    return file.to_bytes()


def half_tensors(rng: random.Random, file: File) -> bytes:
    """Some tensors in half precision among others in single."""
    data, offset = bytearray(), 0
    share = rng.choice((0.02, 0.5, 1.0))
    kind = rng.choice(("F16", "BF16", "F64", "I16", "BOOL"))
    width = {"F64": 8, "BOOL": 1}.get(kind, 2)
    for name in file.names:
        entry = file.header[name]
        begin, end = entry["data_offsets"]
        piece = file.data[begin:end]
        if rng.random() < share:
            entry["dtype"] = kind
            piece = bytearray((end - begin) // 4 * width)
        entry["data_offsets"] = [offset, offset + len(piece)]
        data += piece
        offset += len(piece)
    file.data = data
    return file.to_bytes()


def weights_not_finite(rng: random.Random, file: File) -> bytes:
    """A weight that is NaN or infinite."""
    begin, end = file.header[rng.choice(file.names)]["data_offsets"]
    at = begin + 4 * rng.randrange((end - begin) // 4)
    file.data[at : at + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), float("-inf"))))
    return file.to_bytes()


def the_metadata(rng: random.Random, file: File) -> bytes:
    """Metadata of another type, or none."""
    header = {**file.header, "__metadata__": rng.choice(HOSTILE)}
    if rng.random() < 0.5:
        header["__metadata__"] = {"mcdm": rng.choice((*HOSTILE, "[" * 50_000, "1" * 9999, '{"format":1}', "null"))}
    return joined(json.dumps(header).encode(), bytes(file.data))


def the_json(rng: random.Random, file: File) -> bytes:
    """JSON that is nested deeply, has a name twice, or is no object."""
    text = json.dumps(file.header)
    deep = rng.choice((500, 5_000, 200_000))
    name = json.dumps(rng.choice(file.names))
    content = rng.choice(
        (
            "[" * deep,
            '{"a":' * deep + "1" + "}" * deep,
            text[:-1] + ', "deep": ' + "[" * deep + "]" * deep + "}",
            text[:-1] + f', {name}: {{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}}}',
            text[:-1] + ', "__metadata__": {"mcdm": "{}"}}',
            text[:-1] + ', "x": ' + "9" * rng.choice((5, 5_000, 500_000)) + "}",
            text[:-1] + ', "x": [' + "{}," * rng.choice((1_000, 1_000_000)) + "1]}",
            "{}",
            "[]",
            "null",
            text + " " * rng.choice((1, 1_000_000)),
            text.replace('"F32"', "NaN", 1),
        )
    )
    return joined(content.encode("utf-8", "surrogatepass"), bytes(file.data))


def raw_bytes(rng: random.Random, file: File) -> bytes:
    """Bytes changed, cut off or added anywhere near the front."""
    content = bytearray(file.to_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    match rng.randrange(5):
        case 0:
            for _ in range(rng.choice((1, 10, 100))):
                content[rng.randrange(header)] = rng.randrange(256)
        case 1:
            del content[rng.randrange(len(content)) :]
        case 2:
            content[:8] = rng.choice((0, 1, header, 2**20, 10**8, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little")
        case 3:
            at = rng.randrange(header)
            content[at : at + rng.randrange(50)] = b""
        case _:
            content += bytes(rng.choice((1, 8, 100_000)))
    return bytes(content)


def no_description(rng: random.Random, file: File) -> bytes:
    """The tensors alone, some of them other ones: what is recognized by names and shapes."""
    for name in file.names:
        if rng.random() < 0.02:
            file.header[f"{name.rsplit('.', 1)[0]}.{rng.choice(('weight', 'bias', 'x', '999999999.w'))}"] = (
                file.header.pop(name)
            )
    markers = ("text_projection", "transformer_proj.weight", "label_emb.weight")
    if rng.random() < 0.6:
        file.header[rng.choice((*markers, "transformer.resblocks.999999999.x", "output_blocks.a.b"))] = {
            "dtype": "F32",
            "shape": rng.choice(([1], [1, 1], [])),
            "data_offsets": [len(file.data), len(file.data) + 4],
        }
        file.data += bytes(4)
    del file.header["__metadata__"]
    return joined(json.dumps(file.header).encode(), bytes(file.data))


MUTATIONS: tuple[Callable[[random.Random, File], bytes], ...] = (
    *(other_tensors, all_dtypes, half_tensors, weights_not_finite, the_metadata, the_json, raw_bytes, no_description),
)


def mutated(rng: random.Random, content: bytes) -> bytes:
    """A spoiled file."""
    return rng.choice(MUTATIONS)(rng, File(content))
