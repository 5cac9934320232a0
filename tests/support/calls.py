"""A measure of how much a piece of Python does: its number of calls, which doesn't depend on the machine's load."""

import cProfile
from collections.abc import Iterator
from contextlib import contextmanager


class Calls:
    """Number of calls in this thread, including those of built-in functions."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def counted_calls(within: str = "") -> Iterator[Calls]:
    """Count the calls in a block; the number is set when it ends.

    Args:
        within: A folder; if given, only calls of functions in it count.
    """
    calls, profile = Calls(), cProfile.Profile()
    profile.enable()
    try:
        yield calls
    finally:
        profile.disable()
        stats = profile.getstats()
        calls.count = sum(of.callcount for of in stats if getattr(of.code, "co_filename", "").startswith(within))
