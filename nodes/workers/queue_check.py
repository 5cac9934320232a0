"""The check of an expert on a worker at POST /prompt: whether the worker can run the expert's graph."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # a class of its own before Python 3.11
from functools import partial
from typing import Any

from ..host.prompt.faults import Fault, fault_of
from ..host.prompt.queued_prompt import current_prompt
from ..host.prompt.worker_graph import Graph, read_graph
from . import cluster
from .cluster import WorkerName
from .node import checked_part
from .versions import check_versions

logger = logging.getLogger(__name__)

WITHIN = 2.0
"""Seconds for which a prompt, and with it the page, waits for the workers' answers about all its graphs."""


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
