"""The part of a prompt that makes an expert's MODEL, condition and null, which a worker has to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodes

from ..host.prompt.worker_graph import Link, as_link, input_file
from .model_files import FileFacts, model_files

FOLDER = "mcdm_workers"
"""Folder for sent input files, within a worker's input folder."""

_UPLOADS = (
    "image_upload",
    "audio_upload",
    "video_upload",
    "upload",
)  # ComfyUI's options of inputs that name input files


@dataclass(frozen=True)
class PromptPart:
    """Nodes that make an expert's MODEL, condition and null.

    The key of a node is a digest of the node and of all nodes that it depends on, so that equal nodes of any prompts
    have one key.

    Attributes:
        nodes: Nodes in API format, by their keys.
        links: Links to "model", "condition" and "null"; the latter two may be missing.
        files: Input files that the nodes read, by their names on a worker, which are digests of their content.
        models: Facts about the model files that the nodes name, see `model_files`.
    """

    nodes: dict[str, dict[str, Any]]
    links: dict[str, Link]
    files: dict[str, Path]
    models: dict[str, FileFacts]


def upload_inputs(class_type: str) -> list[str]:
    """The inputs of a type of node that name files in ComfyUI's input folder.

    Raises:
        ValueError: If this ComfyUI lacks the node.
    """
    if class_type not in nodes.NODE_CLASS_MAPPINGS:
        raise ValueError(f"Expected the node {class_type}, which isn't installed there; install it.")
    kinds = nodes.NODE_CLASS_MAPPINGS[class_type].INPUT_TYPES()
    specs = [(name, option) for kind in ("required", "optional") for name, option in kinds.get(kind, {}).items()]
    return [name for name, spec in specs if any(_is_upload(option) for option in spec[1:])]


def part_behind(
    node_of: Callable[[str], dict[str, Any]],
    links: Mapping[str, Any],
    uploads_of: Callable[[str], Collection[str]] = upload_inputs,
    order: Sequence[str] = (),
) -> PromptPart:
    """The part of a prompt on which some links depend.

    Args:
        node_of: Returns a node of the prompt by its id.
        links: The wanted links of the prompt, by name.
        uploads_of: Returns the inputs of a type of node that name input files.
        order: Nodes in the order of their dependencies, to walk chains of any length without deep recursion.
    """
    walk = _Walk(node_of, uploads_of)
    for node_id in order:
        walk.key_of(node_id)
    keyed = {name: (walk.key_of(str(link[0])), int(link[1])) for name, link in links.items()}
    named = model_files(value for node in walk.nodes.values() for value in node["inputs"].values())
    return PromptPart(walk.nodes, keyed, walk.files, named)


class _Walk:
    def __init__(self, node_of: Callable[[str], dict[str, Any]], uploads_of: Callable[[str], Collection[str]]):
        self.nodes: dict[str, dict[str, Any]] = {}
        self.files: dict[str, Path] = {}
        self._node_of = node_of
        self._uploads_of = uploads_of
        self._keys: dict[str, str] = {}

    def key_of(self, node_id: str) -> str:
        """Add a node and all nodes that it depends on; ComfyUI has already refused prompts with cycles."""
        if node_id not in self._keys:
            node = self._node_of(node_id)
            class_type = node["class_type"]
            uploads = self._uploads_of(class_type)
            inputs = {name: self._input(value, name in uploads) for name, value in sorted(node["inputs"].items())}
            taken = {"class_type": class_type, "inputs": inputs}
            key = hashlib.sha256(json.dumps(taken, sort_keys=True).encode()).hexdigest()
            self._keys[node_id] = key
            self.nodes[key] = taken
        return self._keys[node_id]

    def _input(self, value: Any, is_upload: bool) -> Any:
        if (link := as_link(value)) is not None:
            return [self.key_of(link[0]), link[1]]
        if is_upload and isinstance(value, str) and (path := input_file(value)) is not None:
            name = f"{hashlib.sha256(path.read_bytes()).hexdigest()}{path.suffix.lower()}"
            self.files[name] = path
            return f"{FOLDER}/{name}"
        return value


def _is_upload(option: Any) -> bool:
    return isinstance(option, dict) and any(option.get(each) for each in _UPLOADS)
