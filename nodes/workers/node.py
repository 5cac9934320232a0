"""The work of the node Diffusion Expert on a Worker: it lets the worker load and describe the MODEL.

At POST /prompt it asks whether the worker can run the expert's graph.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # a class of its own before Python 3.11
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..host.chain.expert_chain import Experts
from ..host.prompt.faults import Fault, fault_of
from ..host.prompt.queued_prompt import current_prompt
from ..host.prompt.worker_graph import LINKS, NO_MODEL, Graph, read_graph
from . import cluster
from .cluster import WorkerName
from .files import send_files
from .model import placeholder, remote_patcher
from .prompt_part import PromptPart, part_behind
from .run import RemoteExpert
from .versions import check_versions

logger = logging.getLogger(__name__)

WITHIN = 2.0
"""Seconds for which a prompt, and with it the page, waits for the workers' answers about all its graphs."""

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
        mask: See `WiredTerm`.
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


def check_there(text: str, worker: WorkerName) -> Fault | None:
    """Find out from a worker, once a prompt, whether it can run a graph.

    Args:
        text: The graph, see `read_graph`.
        worker: The worker.

    Returns:
        The fault; None if there is none, or if the worker doesn't answer in time: the run calls it again.
    """
    prompt = current_prompt()
    deadline = prompt.once("deadline of workers", lambda: time.monotonic() + WITHIN)
    return prompt.once((text, worker), lambda: _fault(read_graph(text), worker, deadline))


def _fault(graph: Graph, worker: WorkerName, deadline: float) -> Fault | None:
    call = partial(cluster.call_worker_until, deadline, worker)

    def work() -> None:
        check_versions(call("hello")["versions"], worker.name)
        checked_part(graph, call)

    try:
        return _within(deadline, lambda: fault_of("graph", work))
    except (TimeoutError, FutureTimeoutError):
        logger.info("The worker %s has not said yet whether it can run its graph; the run will find out.", worker.name)
        return None


def _within(deadline: float, work: Callable[[], Any]) -> Any:
    """Call a function in a thread of its own, which is abandoned at the deadline; returns or raises as the function.

    Raises:
        FutureTimeoutError: If the function takes longer.
    """
    result: Future[Any] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=run, name="mcdm check", daemon=True).start()
    return result.result(max(0.0, deadline - time.monotonic()))
