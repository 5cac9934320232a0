"""What the node Diffusion Expert on a Worker does: it asks the worker what the MODEL is, and remembers where it is."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..expert_chain import Experts
from . import cluster
from .files import send_files
from .graph import Graph, read_graph
from .model import RemoteExpert, WorkerName, made_by, remote_patcher
from .prompt_part import LINKS, PromptPart, input_file, part_behind
from .versions import check_versions

NO_MODEL = (
    "Expected a model and got neither a link nor a graph; connect a MODEL, or give a graph in API format that has one "
    "Diffusion Expert."
)

_models: weakref.WeakValueDictionary[str, ModelPatcher] = weakref.WeakValueDictionary()
"""MODELs in use, so that experts with one MODEL share it here as they do there."""


def remote_expert(
    prompt: Any,
    node_id: str,
    graph: str,
    worker: WorkerName,
    timeout: float,
    shares: Mapping[str, Any],
    mask: Tensor | None,
    experts: Experts,
) -> RemoteExpert:
    """An expert on a worker, which has been asked what its MODEL is, and has loaded it for that.

    Args:
        prompt: ComfyUI's DynamicPrompt.
        node_id: The node, whose links say what to run there, unless a graph does.
        graph: See `read_graph`; empty for none.
        worker: Where.
        timeout: Seconds for which it may give no sign of life.
        shares: See `Share`.
        mask: See `ExpertInput`.
        experts: The experts before it.

    Raises:
        ValueError: If the worker cannot be reached, is of another version, or cannot load the MODEL.
    """
    ask = partial(cluster.ask, worker, timeout)
    check_versions(ask("hello")["versions"], worker.name)
    if graph.strip():
        part = checked_part(read_graph(graph), ask)
    else:
        part = _part_behind_links(prompt, node_id)
        send_files(ask, part.files)
    model = _model(part, worker, ask)
    condition, null = (made_by(part.links[name]) if name in part.links else None for name in ("condition", "null"))
    if null is None and model.model.has_null:  # an expert that listens to nothing has it without its being wired
        null = made_by(part.links["model"])
    place = len(experts) + 1
    return RemoteExpert(model, condition, null, mask=mask, place=place, part=part, timeout=timeout, **shares)


def files_of_graph(text: str | None) -> tuple[tuple[str, int, int], ...]:
    """The files here that values of a graph may name, each with when it was changed and its size.

    Args:
        text: The graph; None where it comes from a node that has not run yet.
    """
    try:
        nodes = read_graph(text).nodes.values() if text and text.strip() else ()
    except ValueError:
        return ()  # the run says so
    values = {value for node in nodes for value in node["inputs"].values() if isinstance(value, str)}
    found = []
    for value in sorted(values):
        with suppress(FileNotFoundError):  # it may go at any time
            if (path := input_file(value)) is not None:
                stat = path.stat()
                found.append((value, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def checked_part(graph: Graph, ask: cluster.Ask) -> PromptPart:
    """What a worker is told of a graph, once it has said that it can run it.

    Args:
        graph: The graph. Input files that it names are sent, and known there by their content.
        ask: Asks the worker.

    Raises:
        ValueError: If the worker can't run it.
    """
    uploads = ask("uploads", graph.kinds)["uploads"]
    part = part_behind(graph.nodes.__getitem__, graph.links, uploads.__getitem__, list(graph.nodes))
    send_files(ask, part.files)
    ask("check", part.nodes, {name: list(link) for name, link in part.links.items()}, part.models)
    return part


def _part_behind_links(prompt: Any, node_id: str) -> PromptPart:
    inputs = prompt.get_node(node_id)["inputs"]
    if "model" not in inputs:
        raise ValueError(NO_MODEL)
    return part_behind(prompt.get_node, {name: inputs[name] for name in LINKS if name in inputs})


def _model(part: PromptPart, worker: WorkerName, ask: cluster.Ask) -> ModelPatcher:
    key = json.dumps([worker.address, worker.name, part.links["model"]])
    if (known := _models.get(key)) is not None:
        return known
    answer = ask("load", part.nodes, list(part.links["model"]), part.models)
    made = _models[key] = remote_patcher(answer["model"], worker)
    return made
