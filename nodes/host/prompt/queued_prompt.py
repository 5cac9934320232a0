"""The prompt that is being validated, and the way from one of its nodes to another.

ComfyUI shows a node only its own widget values at POST /prompt. A handler that it calls with every prompt it is sent
keeps the prompt for the validation that follows in the same task.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from comfy_api.latest import io

import nodes

from ....mcdm_core.conditions import Encoder
from ....mcdm_core.product.registry import SETTINGS
from ..files.expert_folders import inspect_expert
from .graph import read_graph
from .links import LINKS, Link, as_link

Prompt = dict[str, dict]

_prompt: ContextVar[Prompt | None] = ContextVar("mcdm_prompt", default=None)
_targets: ContextVar[list[str] | None] = ContextVar("mcdm_targets", default=None)
"""Output nodes to be run; None for all that there are."""
_found: ContextVar[dict[Any, Any] | None] = ContextVar("mcdm_found", default=None)
"""What was found out about the prompt."""

_ELSEWHERE = ["", 0]
"""A link to a node that isn't in the prompt: nothing is known of what it gives."""

_EXPERTS = ("MCDM_Expert", "MCDM_ExpertRemote")
_CHAINED = (*_EXPERTS, "MCDM_Schedule", *(f"MCDM_{kind.name}" for kind in SETTINGS))
_READERS: dict[type, type] = {io.Int.Input: int, io.Float.Input: float, io.String.Input: str, io.Boolean.Input: bool}


def watch_prompts() -> None:
    """Register the handler with ComfyUI's server, where there is one."""
    server = sys.modules.get("server")  # importing it would start things that only main.py should
    instance = getattr(server.PromptServer, "instance", None) if server else None
    if instance is not None:
        instance.add_on_prompt_handler(remember_prompt)


def remember_prompt(json_data: dict) -> dict:
    """Keep a prompt for its validation; returns the request unchanged."""
    prompt = json_data.get("prompt")
    _prompt.set(_well_formed(prompt) if isinstance(prompt, dict) else None)
    targets = json_data.get("partial_execution_targets")
    _targets.set(targets if isinstance(targets, list) else None)
    _found.set({})
    return json_data


def once_a_prompt(key: Any, find: Callable[[], Any]) -> Any:
    """What a function returns, called once for the prompt that is being validated, however often it is asked for.

    Args:
        key: Tells it from others.
        find: The function.
    """
    found = _found.get()
    if found is None:
        return find()
    if key not in found:
        found[key] = find()
    return found[key]


def _well_formed(prompt: dict) -> Prompt:
    """The nodes that have a type and inputs, so that nobody else has to ask; ComfyUI refuses the others."""
    return {
        key: {**node, "inputs": _read(node["class_type"], node["inputs"])}
        for key, node in prompt.items()
        if isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
    }


def _read(class_type: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs of one of this pack's nodes, converted as ComfyUI will; without those that it won't be able to."""
    readers = {known.id: _READERS.get(type(known)) for known in schema_of(class_type)}
    read = {}
    for name, given in inputs.items():
        value = given["__value__"] if isinstance(given, dict) and "__value__" in given else given
        reader = readers.get(name)
        try:
            read[name] = value if reader is None or isinstance(value, list) else reader(value)
        except (ValueError, TypeError, OverflowError):
            continue
    return _as_by_graph(read) if class_type == "MCDM_ExpertRemote" and read.get("graph") else read


def _as_by_graph(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs of an expert on a worker with what its graph connects in the place of what is connected here."""
    graph = inputs["graph"]
    try:
        connected = LINKS if isinstance(graph, list) else read_graph(graph).links if graph.strip() else None
    except ValueError:
        connected = LINKS  # the node's own check says so
    if connected is None:
        return inputs
    kept = {name: value for name, value in inputs.items() if name not in LINKS}
    return kept | dict.fromkeys(connected, _ELSEWHERE)


def schema_of(class_type: str) -> list[io.Input]:
    """Inputs in the schema of one of this pack's nodes; none of another's."""
    known = nodes.NODE_CLASS_MAPPINGS.get(class_type) if class_type.startswith("MCDM_") else None
    return known.define_schema().inputs if known is not None else []


def link_of(node: dict, name: str) -> Link | None:
    """The node that an input is linked to and the number of its output; None if it is a value, or no proper link."""
    return as_link(node["inputs"].get(name))


def find_node(node_id: Any) -> dict | None:
    """A node of the prompt by its id; None where there is none, or no prompt."""
    prompt = _prompt.get()
    return prompt.get(node_id) if prompt is not None else None


def needed_nodes(class_type: str) -> list[tuple[str, dict]]:
    """Nodes of one type that an output to be run needs, with their ids; ComfyUI validates no others."""
    prompt = _prompt.get() or {}
    needed: set[str] = set()
    waiting = [key for key, node in prompt.items() if _is_output(key, node)]
    while waiting:
        if (key := waiting.pop()) not in needed and key in prompt:
            needed.add(key)
            links = (link_of(prompt[key], name) for name in prompt[key]["inputs"])
            waiting += [link[0] for link in links if link is not None]
    return [(key, node) for key, node in prompt.items() if key in needed and node["class_type"] == class_type]


def _is_output(node_id: str, node: dict) -> bool:
    targets = _targets.get()
    known = nodes.NODE_CLASS_MAPPINGS.get(node["class_type"])
    return getattr(known, "OUTPUT_NODE", False) is True and (targets is None or node_id in targets)


def users_of(node_id: str, name: str) -> list[dict]:
    """Nodes of the prompt that take the first output of a node as their input of this name."""
    return [node for node in (_prompt.get() or {}).values() if link_of(node, name) == (node_id, 0)]


def linked_node(node: dict, name: str) -> dict | None:
    """The node that an input comes from."""
    link = link_of(node, name)
    return find_node(link[0]) if link else None


def last_before_loader(node: dict) -> dict:
    """The last node that a MODEL passes through between its loader and here; LoRAs and patches lie on the way."""
    visited = [node]
    while (source := linked_node(visited[-1], "model")) and "model" in source["inputs"] and source not in visited:
        visited.append(source)
    return visited[-1]


def expert_name_of(node: dict, name: str) -> str | None:
    """The file of the Load Diffusion Expert node that an input comes from, None if that isn't what it is."""
    source = linked_node(node, name)
    if source is None or source["class_type"] != "MCDM_LoadExpert":
        return None
    expert_name = source["inputs"].get("expert_name")
    return expert_name if isinstance(expert_name, str) else None


def encoder_of(node: dict, name: str) -> Encoder | None:
    """The encoder of the Load Diffusion Expert node that an input comes from, None if that isn't what it is."""
    expert_name = expert_name_of(node, name)
    try:
        return inspect_expert(expert_name) if expert_name is not None else None
    except ValueError:
        return None  # the loader's own check says so


def encode_nodes(node: dict, name: str) -> list[str]:
    """The Encode … nodes that a condition comes through, none if it comes through any other node."""
    passed: list[str] = []
    link = link_of(node, name)
    visited: set[str] = set()
    while link:
        key, slot = link
        source = find_node(key)
        if source is None or not source["class_type"].startswith("MCDM_Encode") or key in visited:
            return []
        visited.add(key)
        passed.append(source["class_type"])
        link = link_of(source, "null" if slot == 1 else "condition")
    return passed


def chain_inputs(node: dict) -> list[dict] | None:
    """Inputs of all experts of a chain, the reference first; None if part of it is made by an unknown node.

    Those of an Expert Schedule are among its expert's.
    """
    chain = _chain_nodes(node)
    if chain is None:
        return None
    found: list[dict] = []
    scheduled: dict[str, Any] = {}
    for source in chain:
        if source["class_type"] == "MCDM_Schedule" and not scheduled:  # of two in a row the one behind counts
            scheduled = {name: value for name, value in source["inputs"].items() if name != "experts"}
        elif source["class_type"] in _EXPERTS:
            found.insert(0, {**source["inputs"], **scheduled})
            scheduled = {}
    return found


def policy_inputs(node: dict, class_type: str) -> dict | None:
    """Inputs of the node of a type, Fewer Passes, say, that counts for a chain wired to a node: its last one."""
    chain = _chain_nodes(node) or []
    return next((source["inputs"] for source in chain if source["class_type"] == class_type), None)


def _chain_nodes(node: dict) -> list[dict] | None:
    """The nodes of the chain wired to a node, from its end; None if one of them is unknown, or they form a ring."""
    found: list[dict] = []
    while "experts" in node["inputs"]:
        source = linked_node(node, "experts")
        if source is None or source["class_type"] not in _CHAINED or any(source is other for other in found):
            return None
        found.append(source)
        node = source
    return found
