"""The work of the node Diffusion Expert on a Worker: it lets the worker load and describe the MODEL."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..host.chain.expert_chain import Experts
from ..host.prompt.worker_graph import LINKS, NO_MODEL, Graph, read_graph
from . import cluster
from .cluster import WorkerName
from .files import send_files
from .model import placeholder, remote_patcher
from .prompt_part import PromptPart, part_behind
from .run import RemoteExpert
from .versions import check_versions

_models: weakref.WeakValueDictionary[str, ModelPatcher] = weakref.WeakValueDictionary()
"""MODELs in use, so that experts that share a MODEL on the worker share one here."""


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
    """An expert on a worker, which loads its MODEL to describe it.

    Args:
        prompt: ComfyUI's DynamicPrompt.
        node_id: The node; without a graph, the worker runs the nodes that its inputs are linked to.
        graph: See `read_graph`; empty for none.
        worker: The worker.
        timeout: Seconds for which it may be silent.
        shares: See `TermNumbers`.
        mask: See `ExpertInput`.
        experts: The experts before it.

    Raises:
        ValueError: If the worker cannot be reached, is of another version, or cannot load the MODEL.
    """
    call = partial(cluster.call_worker, worker, timeout)
    check_versions(call("hello")["versions"], worker.name)
    if graph.strip():
        part = checked_part(read_graph(graph), call)
    else:
        inputs = prompt.get_node(node_id)["inputs"]
        if "model" not in inputs:
            raise ValueError(NO_MODEL)
        part = part_behind(prompt.get_node, {name: inputs[name] for name in LINKS if name in inputs})
        send_files(call, part.files)
    model = _model(part, worker, call)
    condition, null = (placeholder(part.links[name]) if name in part.links else None for name in ("condition", "null"))
    if null is None and model.model.has_null:  # an expert without conditions has a null that need not be connected
        null = placeholder(part.links["model"])
    place = len(experts) + 1
    return RemoteExpert(
        model, condition, null, mask=mask, place=place, node=node_id, part=part, timeout=timeout, **shares
    )


def checked_part(graph: Graph, call: cluster.Caller) -> PromptPart:
    """The part of a graph that a worker has to run, after it has confirmed that it can.

    Args:
        graph: The graph. The input files that it names are sent.
        call: Calls the worker.

    Raises:
        ValueError: If the worker can't run it.
    """
    uploads = call("uploads", graph.kinds)["uploads"]
    part = part_behind(graph.nodes.__getitem__, graph.links, uploads.__getitem__, list(graph.nodes))
    send_files(call, part.files)
    call("check", part.nodes, {name: list(link) for name, link in part.links.items()}, part.models)
    return part


def _model(part: PromptPart, worker: WorkerName, call: cluster.Caller) -> ModelPatcher:
    key = json.dumps([worker.address, worker.name, part.links["model"]])
    if (known := _models.get(key)) is not None:
        return known
    answer = call("load", part.nodes, list(part.links["model"]), part.models)
    made = _models[key] = remote_patcher(answer["model"], worker)
    return made
