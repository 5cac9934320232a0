"""Waiting for other processes and threads.

Tests don't limit times. `PATIENCE` only keeps a test from waiting forever: it is more than 20 times longer than any
wait takes, so whatever takes longer hangs.
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
    """Something that was waited for has not come."""

    def __init__(self, what: str, details: str = ""):
        super().__init__(f"hung: {what} has not come in {PATIENCE:.0f} s.{details}")


class EndedError(RuntimeError):
    """The process that was waited for has ended."""


def wait_until(
    condition: Callable[[], Result], what: str, process: Popen | None = None, details: Callable[[], str] = str
) -> Result:
    """Wait until a condition is true.

    Args:
        condition: The condition; it is called until its result is true.
        what: Name of the awaited event in messages.
        process: The process that should cause it.
        details: Returns more text for messages, such as the process's log.

    Returns:
        The result of the condition.

    Raises:
        EndedError: If the process ends first.
        HungError: If the condition stays false.
    """
    begun = time.monotonic()
    while True:
        ended = process is not None and process.poll() is not None
        if result := condition():
            return result
        if ended:
            raise EndedError(f"The process ended before {what} came.{details()}")
        if time.monotonic() - begun > PATIENCE:
            raise HungError(what, details())
        time.sleep(_POLL)


def result_of(work: Coroutine[Any, Any, Result], what: str) -> Result:
    """Run a coroutine to its end."""
    try:
        return asyncio.run(asyncio.wait_for(work, PATIENCE))
    except asyncio.TimeoutError:
        raise HungError(what) from None


def await_event(event: Event, what: str) -> None:
    """Wait for an event that another thread sets."""
    if not event.wait(PATIENCE):
        raise HungError(what)


def meet(barrier: Barrier, what: str) -> None:
    """Wait until all threads have reached a barrier."""
    try:
        barrier.wait(PATIENCE)
    except BrokenBarrierError:
        raise HungError(what) from None
