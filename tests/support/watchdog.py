"""Waiting for what another process or thread does.

No test says how long something may take: it counts. `PATIENCE` only keeps a test from waiting forever. It is more than
20 times what any wait takes, and what has not come by then hangs.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from subprocess import Popen
from threading import Barrier, BrokenBarrierError, Event
from typing import Any, TypeVar

PATIENCE = 1800.0  # seconds; the longest wait, for a shipped workflow on a server, takes about one minute
_POLL = 0.1

Result = TypeVar("Result")


class HungError(AssertionError):
    """What was waited for has not come."""

    def __init__(self, what: str, told: str = ""):
        super().__init__(f"hung: {what} has not come in {PATIENCE:.0f} s.{told}")


class EndedError(RuntimeError):
    """The process that was waited for has ended."""


def wait_until(
    condition: Callable[[], Result], what: str, process: Popen | None = None, told: Callable[[], str] = str
) -> Result:
    """Ask until a condition is true.

    Args:
        condition: What is asked for.
        what: What is waited for, for messages.
        process: Whose it is.
        told: What the process has said, for messages.

    Returns:
        What the condition gave.

    Raises:
        EndedError: The process ended first.
        HungError: It has not come.
    """
    begun = time.monotonic()
    while True:
        ended = process is not None and process.poll() is not None
        if result := condition():
            return result
        if ended:
            raise EndedError(f"The process ended before {what} came.{told()}")
        if time.monotonic() - begun > PATIENCE:
            raise HungError(what, told())
        time.sleep(_POLL)


def result_of(work: Coroutine[Any, Any, Result], what: str) -> Result:
    """Run a coroutine to its end."""
    try:
        return asyncio.run(asyncio.wait_for(work, PATIENCE))
    except asyncio.TimeoutError:
        raise HungError(what) from None


def await_event(event: Event, what: str) -> None:
    """Wait for what another thread says."""
    if not event.wait(PATIENCE):
        raise HungError(what)


def meet(barrier: Barrier, what: str) -> None:
    """Wait until all threads that a barrier is for have come to it."""
    try:
        barrier.wait(PATIENCE)
    except BrokenBarrierError:
        raise HungError(what) from None
