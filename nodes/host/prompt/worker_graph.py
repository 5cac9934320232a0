"""Nodes and links in API format; and a graph for a worker, a workflow in API format as text.

The graph has one Diffusion Expert, whose inputs are to be made there. It may have nodes and files that only the
worker has, so none of them is looked up here.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths

from ..chain.node_ids import EXPERT

Link = tuple[str, int]
"""A node, by its id in a prompt, and the number of its output."""

LINKS = ("model", "condition", "null")
"""Inputs of an expert that other nodes make."""

_EXPORT = "build it in the worker's ComfyUI, end it with a Diffusion Expert, and paste what Export (API) saves"
NO_MODEL = (
    "Expected a model and got neither a link nor a graph; connect a MODEL, or give a graph in API format that has one "
    "Diffusion Expert."
)


def as_link(value: Any) -> Link | None:
    """What an input of a node is linked to; None if it is a value, or no proper link."""
    match value:
        case [str(source), int(slot)]:
            return source, slot
    return None


def is_node(node: Any) -> bool:
    """Whether a value is a node in API format, as far as that shows."""
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


@dataclass(frozen=True)
class Graph:
    """A graph that was read.

    Attributes:
        nodes: The nodes that `links` need, in API format, by their ids; each comes after those that it is linked to.
        links: The links of "model", "condition" and "null"; the latter two may be missing.
    """

    nodes: dict[str, dict[str, Any]]
    links: dict[str, Link]

    @property
    def kinds(self) -> list[str]:
        """The types of its nodes."""
        return sorted({node["class_type"] for node in self.nodes.values()})


def read_graph(text: str) -> Graph:
    """Read a graph.

    Args:
        text: A workflow in API format that has one Diffusion Expert. Only the nodes that its model, condition and null
            need are kept.

    Raises:
        ValueError: If it is something else; in a sentence that says what to do.
    """
    nodes = _nodes_in(text)
    experts = [key for key, node in nodes.items() if node["class_type"] == EXPERT]
    if len(experts) != 1:
        raise ValueError(
            f"Expected one Diffusion Expert in the graph, whose model, positive and negative the worker makes, and got "
            f"{len(experts) or 'none'}; {_EXPORT}."
        )
    inputs = nodes[experts[0]]["inputs"]
    links = {name: link for name in LINKS if (link := as_link(inputs.get(name))) is not None}
    if "model" not in links:
        raise ValueError("Expected a model at the Diffusion Expert of the graph and got none; connect one, and export.")
    return Graph(_with_sources(nodes, [source for source, _ in links.values()]), links)


def files_of_graph(text: str | None) -> tuple[tuple[str, int, int], ...]:
    """The files on this machine that values of a graph may name, each with its time of change in ns and its size.

    Args:
        text: The graph; None if it comes from a node that has not run yet.
    """
    try:
        nodes = read_graph(text).nodes.values() if text and text.strip() else ()
    except ValueError:
        return ()  # the run says so
    values = {value for node in nodes for value in node["inputs"].values() if isinstance(value, str)}
    files = []
    for value in sorted(values):
        with suppress(FileNotFoundError):  # it may go at any time
            if (path := input_file(value)) is not None:
                stat = path.stat()
                files.append((value, stat.st_mtime_ns, stat.st_size))
    return tuple(files)


def input_file(value: str) -> Path | None:
    """The file in ComfyUI's folder of inputs, outputs or temporary files that a value names; None if there is none.

    A graph may come from anybody, so no file outside these folders is read.
    """
    name, folder = folder_paths.annotated_filepath(value)
    base = Path(os.path.abspath(folder or folder_paths.get_input_directory()))  # as written: users link folders
    path = Path(os.path.abspath(base / name))
    return path if path.is_relative_to(base) and os.path.isfile(path) else None  # Path's raises for some names


def _nodes_in(text: str) -> dict[str, dict[str, Any]]:
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected a workflow in API format as the graph and got no JSON ({error}); {_EXPORT}."
        ) from None
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise ValueError(
            "Expected a workflow in API format as the graph and got one of the page; take File, Export (API) in "
            "the place of Export."
        )
    nodes = graph if isinstance(graph, dict) else {}
    if not nodes or not all(map(is_node, nodes.values())):
        raise ValueError(
            f"Expected a workflow in API format as the graph, nodes with a class_type and inputs, and got something "
            f"else; {_EXPORT}."
        )
    return nodes


def _with_sources(nodes: dict[str, dict[str, Any]], sources: list[str]) -> dict[str, dict[str, Any]]:
    """Some nodes, and all that they are linked to; each comes after those that it is linked to.

    Raises:
        ValueError: If one is missing, or the links form a ring.
    """
    whole: dict[str, dict[str, Any]] = {}
    begun: set[str] = set()
    waiting = list(reversed(sources))
    while waiting:
        key = waiting[-1]
        if key not in nodes:
            raise ValueError(
                f"Expected all nodes that others of the graph are linked to and {key} is missing; {_EXPORT}."
            )
        values = nodes[key]["inputs"].values()
        before = [link[0] for value in values if (link := as_link(value)) is not None and link[0] not in whole]
        if before and key in begun:
            raise ValueError(f"Expected a graph without rings and node {key} is in one; {_EXPORT}.")
        if before:
            begun.add(key)
            waiting += before
        else:
            whole[key] = nodes[waiting.pop()]
    return whole
