"""How much a piece of Python does: its calls, which are as many on a machine at work as on a quiet one."""

import cProfile
from collections.abc import Iterator
from contextlib import contextmanager


class Calls:
    """Calls of functions in this thread, those of built-in ones among them."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def counted_calls(within: str = "") -> Iterator[Calls]:
    """Count the calls of a block; they are known after it.

    Args:
        within: A folder; where given, calls of functions elsewhere don't count.
    """
    calls, profile = Calls(), cProfile.Profile()
    profile.enable()
    try:
        yield calls
    finally:
        profile.disable()
        stats = profile.getstats()
        calls.count = sum(of.callcount for of in stats if getattr(of.code, "co_filename", "").startswith(within))
