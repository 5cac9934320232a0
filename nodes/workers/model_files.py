"""Model files of the same name that should be the same here and on a worker."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import comfy.utils
import folder_paths

_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf")
_HASH = "modelspec.hash_sha256"

FileFacts = dict[str, Any]
"""The "size" of a file in bytes, and the "hash" from its header, or None."""


def model_files(values: Iterable[Any]) -> dict[str, FileFacts]:
    """Facts about the model files among the inputs of nodes, by "FOLDER/NAME", FOLDER being ComfyUI's.

    Empty files, which stand for files that only the worker has, are left out.
    """
    facts: dict[str, FileFacts] = {}
    for name in {value for value in values if isinstance(value, str) and value.lower().endswith(_ENDINGS)}:
        for folder in folder_paths.folder_names_and_paths:
            path = folder_paths.get_full_path(folder, name)
            if path is not None and Path(path).stat().st_size > 0:
                facts[f"{folder}/{name}"] = _facts_of(Path(path))
    return facts


def check_model_files(there: Mapping[str, FileFacts]) -> None:
    """On a worker, refuse files that differ from files of the same names on the calling ComfyUI.

    Args:
        there: Facts about the calling ComfyUI's files. Files that are missing here are reported by the nodes that load
            them.

    Raises:
        ValueError: If the sizes of two files differ, or both have hashes, which differ.
    """
    for each, known in there.items():
        folder, _, name = each.partition("/")
        path = folder_paths.get_full_path(folder, name) if folder in folder_paths.folder_names_and_paths else None
        if path is None:
            continue
        own = _facts_of(Path(path))
        for what in ("size", "hash"):
            if known.get(what) is not None and own.get(what) is not None and known[what] != own[what]:
                raise ValueError(
                    f"Expected {name} to be the same file on both machines, but its {what} is {known[what]} where the "
                    f"workflow is and {own[what]} on the worker; copy it from one to the other."
                )


def _facts_of(path: Path) -> FileFacts:
    return {"size": path.stat().st_size, "hash": _hash_in_header(path) if path.suffix == ".safetensors" else None}


def _hash_in_header(path: Path) -> str | None:
    """The hash of its content that a file states in its header; None if there is none that can be read."""
    try:
        header = json.loads(comfy.utils.safetensors_header(path) or "null")
    except (ValueError, struct.error):  # of a file that is shorter than the length of a header
        return None
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata.get(_HASH) if isinstance(metadata, dict) else None
