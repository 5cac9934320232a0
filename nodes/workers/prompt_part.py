"""The part of a prompt that makes an expert's MODEL, condition and null: what a worker is told to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodes

from ..host.prompt.graph import input_file
from ..host.prompt.links import Link, as_link
from .model_files import Known, model_files

FOLDER = "mcdm_workers"
"""Where a worker keeps input files that were sent, in its folder of inputs."""

_UPLOADS = ("image_upload", "audio_upload", "video_upload", "upload")  # what ComfyUI calls inputs that are files


@dataclass(frozen=True)
class PromptPart:
    """Nodes that make what an expert needs.

    The key of a node is a digest of what it is and of all that is behind it, so that equal nodes are one, in any
    prompt.

    Attributes:
        nodes: In API format, by their keys.
        links: Where "model", "condition" and "null" come from; the latter two may be missing.
        files: Input files that the nodes read, by the names that they have for a worker: digests of their content.
        models: What is known of the model files that the nodes name, see `model_files`.
    """

    nodes: dict[str, dict[str, Any]]
    links: dict[str, Link]
    files: dict[str, Path]
    models: dict[str, Known]


def upload_inputs(class_type: str) -> list[str]:
    """Those inputs of a node that name files in ComfyUI's folder of inputs.

    Raises:
        ValueError: If there is no such node here.
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
    """The part of a prompt that some links lead to.

    Args:
        node_of: The prompt's nodes by their ids.
        links: What is wanted, each as a link of the prompt.
        uploads_of: From a node's type to its inputs that name input files.
        order: Nodes, each behind those that it comes from; of a prompt of which nobody knows how long its chains are.
    """
    walk = _Walk(node_of, uploads_of)
    for node_id in order:
        walk.key_of(node_id)
    found = {name: (walk.key_of(str(link[0])), int(link[1])) for name, link in links.items()}
    named = model_files(value for node in walk.nodes.values() for value in node["inputs"].values())
    return PromptPart(walk.nodes, found, walk.files, named)


class _Walk:
    def __init__(self, node_of: Callable[[str], dict[str, Any]], uploads_of: Callable[[str], Collection[str]]):
        self.nodes: dict[str, dict[str, Any]] = {}
        self.files: dict[str, Path] = {}
        self._node_of = node_of
        self._uploads_of = uploads_of
        self._keys: dict[str, str] = {}

    def key_of(self, node_id: str) -> str:
        """Take a node and all behind it; prompts have no rings by the time they run."""
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
