"""Interrupts runs only between steps: a state saved in the middle of a step could not be resumed exactly."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], bool]]:
    """Hold back Ctrl-C and requests to terminate; a second one acts at once.

    Yields:
        A function that returns whether to stop; always False outside the main thread, which alone receives signals.
    """
    asked = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        restore()

    for number in previous:
        signal.signal(number, remember)
    try:
        yield lambda: asked
    finally:
        restore()
