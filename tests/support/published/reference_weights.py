"""Rebuild the weights and values that a reference was computed with (see `../parity/README.md`)."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

PARITY = Path(__file__).parents[2] / "parity"


def reference_values(name: str) -> dict[str, Tensor]:
    """Stored inputs and outputs of a reference."""
    return load_file(PARITY / f"{name}.safetensors")


def reference_config(name: str) -> dict:
    """Constructor arguments of the original network."""
    about = json.loads((PARITY / f"{name}.json").read_text())["about"]
    return {key.removeprefix("config/"): value for key, value in about.items()}


def reference_weights(name: str) -> dict[str, Tensor]:
    """The checkpoint of a reference, with published keys.

    Each tensor has a seed of its own, from the file's seed and the tensor's key. numpy guarantees that RandomState's
    stream never changes.
    """
    spec = json.loads((PARITY / f"{name}.json").read_text())["weights"]
    state = {}
    for key, tensor in spec["tensors"].items():
        stream = np.random.RandomState(zlib.crc32(f"{spec['seed']}:{key}".encode()))
        normal = np.asarray(stream.standard_normal(tuple(tensor["shape"])), dtype=np.float32)
        kind, scale = tensor["kind"]
        values = (kind == "gain") + np.float32(scale) * normal
        state[key] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return state
