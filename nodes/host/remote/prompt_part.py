"""The part of a prompt that makes an expert's MODEL, condition and null: what a worker is told to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths

import nodes

from .model_files import Known, model_files

Link = tuple[str, int]
"""A node, by its key in a part, and the number of its output."""

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


def part_behind(node_of: Callable[[str], dict[str, Any]], links: Mapping[str, Any]) -> PromptPart:
    """The part of a prompt that some links lead to.

    Args:
        node_of: The prompt's nodes by their ids.
        links: What is wanted, each as a link of the prompt.
    """
    walk = _Walk(node_of)
    found = {name: (walk.key_of(str(link[0])), int(link[1])) for name, link in links.items()}
    named = model_files(value for node in walk.nodes.values() for value in node["inputs"].values())
    return PromptPart(walk.nodes, found, walk.files, named)


class _Walk:
    def __init__(self, node_of: Callable[[str], dict[str, Any]]):
        self.nodes: dict[str, dict[str, Any]] = {}
        self.files: dict[str, Path] = {}
        self._node_of = node_of
        self._keys: dict[str, str] = {}

    def key_of(self, node_id: str) -> str:
        """Take a node and all behind it; prompts have no rings by the time they run."""
        if node_id not in self._keys:
            node = self._node_of(node_id)
            class_type = node["class_type"]
            inputs = {name: self._input(class_type, name, value) for name, value in sorted(node["inputs"].items())}
            taken = {"class_type": class_type, "inputs": inputs}
            key = hashlib.sha256(json.dumps(taken, sort_keys=True).encode()).hexdigest()
            self._keys[node_id] = key
            self.nodes[key] = taken
        return self._keys[node_id]

    def _input(self, class_type: str, name: str, value: Any) -> Any:
        match value:
            case [str(source), int(slot)]:
                return [self.key_of(source), slot]
            case str() if _is_upload(class_type, name) and folder_paths.exists_annotated_filepath(value):
                path = Path(folder_paths.get_annotated_filepath(value))
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                self.files[f"{digest}{path.suffix.lower()}"] = path
                return f"{FOLDER}/{digest}{path.suffix.lower()}"
        return value


def _is_upload(class_type: str, name: str) -> bool:
    """Whether an input of a node names a file in ComfyUI's folder of inputs."""
    kinds = nodes.NODE_CLASS_MAPPINGS[class_type].INPUT_TYPES()
    specs = [kinds[kind][name] for kind in ("required", "optional") if name in kinds.get(kind, {})]
    options = [option for spec in specs for option in spec[1:] if isinstance(option, dict)]
    return any(option.get(each) for option in options for each in _UPLOADS)
