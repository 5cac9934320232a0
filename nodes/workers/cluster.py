"""A Ray cluster, and calls of its workers by name. Ray is optional, and imported only if an expert is on a worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management

from ...mcdm_core.system.clusters import check_ray, join_cluster

NAMESPACE = "mcdm"
_POLL = 0.2  # seconds between checks whether the user has cancelled
_HEARTBEAT = 1.0  # seconds between requests for a sign of life

_connected_to: str | None = None
_joining = threading.Lock()  # ComfyUI checks a prompt in one thread while another prompt runs in a second


@dataclass(frozen=True)
class WorkerName:
    """Address of a worker.

    Attributes:
        address: Address of the cluster.
        name: Name of the worker.
    """

    address: str
    name: str


def connect(address: str) -> Any:
    """Join a cluster as a client, once a process.

    Args:
        address: "HOST:PORT" of the head of the cluster, of which a Ray node has to run on this machine.

    Returns:
        The module `ray`.

    Raises:
        ValueError: If Ray is missing, the process has joined another cluster, or there is none at the address.
    """
    global _connected_to
    check_ray()
    import ray

    with _joining:
        if ray.is_initialized() and _connected_to != address:
            raise ValueError(
                f"Expected the cluster {_connected_to or 'that another pack joined'} and got {address}, but a ComfyUI "
                "joins only one; give all workers one address, or restart ComfyUI."
            )
        if not ray.is_initialized():
            options = {"namespace": NAMESPACE, "configure_logging": False, "include_dashboard": False}
            join_cluster(ray, address, "this ComfyUI", **options)
            _connected_to = address
    return ray


def find_worker(worker: WorkerName) -> Any:
    """Ray's handle of a worker.

    Raises:
        ValueError: If there is no worker of that name.
    """
    ray = connect(worker.address)
    try:
        return ray.get_actor(worker.name, namespace=NAMESPACE)
    except ValueError as error:
        raise ValueError(
            f"Expected a worker {worker.name} in the cluster {worker.address} and found none; start it there with "
            "worker.py, or correct the name."
        ) from error


class WorkerCall:
    """A running call of a worker's method.

    Args:
        worker: The worker.
        actor: Ray's handle of it.
        method: Name of the method, one of `Engine`'s.
        *args: Numbers, texts, buffers, and lists and dictionaries of these.
    """

    def __init__(self, worker: WorkerName, actor: Any, method: str, *args: Any):
        self.worker = worker
        self.actor = actor
        self.method = method
        # Workers of any version are asked hello, by which another version is refused.
        self.ref = actor.hello.remote() if method == "hello" else actor.call.remote(method, *args)


Then = Callable[[dict[str, Any]], "WorkerCall | None"]
"""Takes an answer; may return a further call, whose answer it will be given too."""


def wait(calls: Sequence[tuple[WorkerCall, Then]], timeouts: dict[WorkerName, float]) -> None:
    """Wait for calls of any number of workers, as long as each gives signs of life.

    Ray restarts a worker that dies, and repeats its call.

    Args:
        calls: Calls, each with the function that takes its answer.
        timeouts: Seconds for which each worker may be silent.

    Raises:
        ValueError: If a worker is silent for longer, or has ended for good.
        InterruptProcessingException: If the user cancels.
    """
    import ray

    waiting = {call.ref: (call, then) for call, then in calls}
    heartbeats = {call.worker: _Heartbeat(call.actor) for call, _ in calls}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1, timeout=_POLL)
        for ref in done:
            call, then = waiting.pop(ref)
            following = then(_answer(call))
            if following is not None:
                waiting[following.ref] = following, then
        comfy.model_management.throw_exception_if_processing_interrupted()
        if not done:
            for worker in {call.worker for call, _ in waiting.values()}:
                if heartbeats[worker].silent_for() > timeouts[worker]:
                    raise ValueError(
                        f"Expected a sign of life from the worker {worker.name} within {timeouts[worker]:g} s and got "
                        "none; start it again, or raise the timeout."
                    )


class _Heartbeat:
    """Waits for signs of life of a worker, and keeps the time of the last."""

    def __init__(self, actor: Any):
        self._actor = actor
        self._last = self._called = time.monotonic()
        self._ref: Any = None

    def silent_for(self) -> float:
        import ray

        now = time.monotonic()
        if self._ref is not None and ray.wait([self._ref], timeout=0)[0]:
            self._ref, self._last = None, now
        if self._ref is None and now - self._called > _HEARTBEAT:
            self._ref, self._called = self._actor.alive.remote(), now
        return now - self._last


def _answer(call: WorkerCall) -> dict[str, Any]:
    import ray

    try:
        answer = ray.get(call.ref)
    except ray.exceptions.RayActorError as error:
        raise ValueError(
            f"Expected the worker {call.worker.name} to go on and it has ended for good; start it again."
        ) from error
    except ray.exceptions.RayError as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"Expected an answer of the worker {call.worker.name} to {call.method} and got none; see its log. Ray "
            f"says: {said[-400:]}"
        ) from error
    if "refused" in answer:
        raise ValueError(f"The worker {call.worker.name} refuses: {answer['refused']}")
    return answer


Caller = Callable[..., dict[str, Any]]
"""Calls a worker's method, by its name and arguments, and waits for the answer."""


def call_worker(worker: WorkerName, timeout: float, method: str, *args: Any) -> dict[str, Any]:
    """Call a worker's method and wait for the answer.

    Args:
        worker: The worker.
        timeout: Seconds for which it may be silent.
        method: Name of the method.
        *args: See `WorkerCall`.

    Raises:
        ValueError: See `find_worker` and `wait`; or the worker refuses.
    """
    answers: list[dict[str, Any]] = []
    wait([(WorkerCall(worker, find_worker(worker), method, *args), answers.append)], {worker: timeout})
    return answers[0]


def call_worker_until(deadline: float, worker: WorkerName, method: str, *args: Any) -> dict[str, Any]:
    """As `call_worker`, but ignores the user's cancel, which is meant for another prompt that may be running.

    Args:
        deadline: Time by `time.monotonic()`.
        worker: The worker.
        method: Name of the method.
        *args: See `WorkerCall`.

    Raises:
        ValueError: See `call_worker`.
        TimeoutError: If no answer comes before the deadline.
    """
    call = WorkerCall(worker, find_worker(worker), method, *args)
    import ray

    done, _ = ray.wait([call.ref], timeout=max(0.0, deadline - time.monotonic()))
    if not done:
        raise TimeoutError
    return _answer(call)
