"""The prompt that is being validated: its nodes, and the links between them.

At POST /prompt ComfyUI shows a node only the values of its own widgets. A handler, which ComfyUI calls with every
prompt, keeps the prompt for the validation that follows in the same task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from comfy_api.latest import io

import nodes

from ..chain.node_ids import EXPERT_REMOTE, PREFIX
from ..chain.titles import title_of
from .worker_graph import LINKS, Link, as_link, is_node, read_graph

_ELSEWHERE = ["", 0]
"""A link to a node that isn't in the prompt, so nothing is known of its output."""

_READERS: dict[type, type] = {io.Int.Input: int, io.Float.Input: float, io.String.Input: str, io.Boolean.Input: bool}


@dataclass(frozen=True, eq=False)
class QueuedNode:
    """A node of a prompt.

    Attributes:
        prompt: The prompt.
        id: The node's key in the prompt.
        class_type: The id in its schema.
        inputs: Links, and values of widgets; those of this pack's nodes are converted as ComfyUI will convert them.
        title: What the user called it; empty if that is the name of its type, or not known.
    """

    prompt: QueuedPrompt
    id: str
    class_type: str
    inputs: dict[str, Any]
    title: str = ""

    def link(self, name: str) -> Link | None:
        """The link of an input; None if it is a value, or no proper link."""
        return as_link(self.inputs.get(name))

    def source(self, name: str) -> QueuedNode | None:
        """The node that an input is linked to."""
        link = self.link(name)
        return self.prompt.nodes.get(link[0]) if link else None

    def behind(self, name: str) -> list[QueuedNode]:
        """The nodes that an input comes through by inputs of its name, the maker last; empty if unknown, or a ring."""
        passed: dict[QueuedNode, None] = {}
        node = self
        while (source := node.source(name)) is not None and source not in passed:
            passed[source] = None
            node = source
        return [*passed] if name not in node.inputs else []

    def users(self, name: str) -> list[QueuedNode]:
        """The nodes that take its first output as their input of this name."""
        return self.prompt.users.get((self.id, 0, name), [])

    def numbers(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of those of its widgets that are numbers, and not linked."""
        return {name: self.inputs[name] for name in names if isinstance(self.inputs.get(name), (int, float))}

    def label(self, name: str) -> str:
        """What the page calls one of its inputs."""
        labels = {known.id: known.display_name for known in schema_of(self.class_type)}
        return labels.get(name) or name


class QueuedPrompt:
    """A prompt as it was sent, without malformed nodes, which ComfyUI refuses.

    Args:
        prompt: Nodes in API format by their ids.
        targets: Ids of the output nodes to run; None for all.

    Attributes:
        nodes: The nodes by their ids.
    """

    def __init__(self, prompt: dict[str, Any], targets: list[str] | None):
        well_formed = {key: node for key, node in prompt.items() if is_node(node)}
        self.nodes = {
            key: QueuedNode(self, key, node["class_type"], _read(node["class_type"], node["inputs"]), title_of(node))
            for key, node in well_formed.items()
        }
        self._results: dict[Any, Any] = {}
        self._targets = targets

    @cached_property
    def users(self) -> dict[tuple[str, int, str], list[QueuedNode]]:
        """The nodes that take an output: by its node's id, its number, and the name of their input."""
        users = defaultdict(list)
        for node in self.nodes.values():
            for name in node.inputs:
                if (link := node.link(name)) is not None:
                    source, slot = link
                    users[source, slot, name].append(node)
        return dict(users)

    @cached_property
    def needed(self) -> dict[str, list[QueuedNode]]:
        """The nodes that an output to be run needs, by their types; ComfyUI validates no others."""
        needed: set[QueuedNode] = set()
        waiting = [node for node in self.nodes.values() if self._is_output(node)]
        while waiting:
            if (node := waiting.pop()) not in needed:
                needed.add(node)
                waiting += filter(None, map(node.source, node.inputs))
        by_type = defaultdict(list)
        for node in self.nodes.values():
            if node in needed:
                by_type[node.class_type].append(node)
        return dict(by_type)

    def once(self, key: Any, find: Callable[[], Any]) -> Any:
        """The result of a function, which is called only once for the prompt.

        Args:
            key: The name of the result among others of the prompt.
            find: The function.
        """
        if key not in self._results:
            self._results[key] = find()
        return self._results[key]

    def _is_output(self, node: QueuedNode) -> bool:
        known = nodes.NODE_CLASS_MAPPINGS.get(node.class_type)
        is_target = self._targets is None or node.id in self._targets
        return getattr(known, "OUTPUT_NODE", False) is True and is_target


_current: ContextVar[QueuedPrompt | None] = ContextVar("mcdm_prompt", default=None)


def remember_prompt(json_data: dict) -> dict:
    """Keep a prompt for its validation; returns the request unchanged."""
    prompt, targets = json_data.get("prompt"), json_data.get("partial_execution_targets")
    known = prompt if isinstance(prompt, dict) else {}
    _current.set(QueuedPrompt(known, targets if isinstance(targets, list) else None))
    return json_data


def current_prompt() -> QueuedPrompt:
    """The prompt that is being validated; one without nodes where none is."""
    return _current.get() or QueuedPrompt({}, None)


def class_of(class_type: str) -> type[io.ComfyNode] | None:
    """The class of a type of this pack's nodes; None for one of another pack."""
    return nodes.NODE_CLASS_MAPPINGS.get(class_type) if class_type.startswith(PREFIX) else None


def schema_of(class_type: str) -> list[io.Input]:
    """The inputs in the schema of one of this pack's nodes; none for nodes of other packs."""
    known = class_of(class_type)
    return known.define_schema().inputs if known is not None else []


def _read(class_type: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """A node's inputs; those of this pack's nodes as ComfyUI will convert them, without those that it can't convert."""
    readers = {known.id: _READERS.get(type(known)) for known in schema_of(class_type)}
    read = {}
    for name, given in inputs.items():
        value = given["__value__"] if isinstance(given, dict) and "__value__" in given else given
        reader = readers.get(name)
        try:
            read[name] = value if reader is None or isinstance(value, list) else reader(value)
        except (ValueError, TypeError, OverflowError):
            continue
    return _as_by_graph(read) if class_type == EXPERT_REMOTE and read.get("graph") else read


def _as_by_graph(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs of an expert on a worker: the links that its graph has, in place of those here."""
    graph = inputs["graph"]
    try:
        connected = LINKS if isinstance(graph, list) else read_graph(graph).links if graph.strip() else None
    except ValueError:
        connected = LINKS  # the node's own check says so
    if connected is None:
        return inputs
    kept = {name: value for name, value in inputs.items() if name not in LINKS}
    return kept | dict.fromkeys(connected, _ELSEWHERE)
