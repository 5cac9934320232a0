"""A custom node for a server of the tests: GET /counted_calls returns the number of function calls it has made.

The number doesn't depend on the load of the machine.
"""

import sys
import threading
from collections import Counter

from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict[str, type] = {}
calls: Counter[int] = Counter()


def count(frame, event, argument) -> None:
    """Count a call, including calls of built-in functions."""
    if event in ("call", "c_call"):
        calls[threading.get_ident()] += 1


@PromptServer.instance.routes.get("/counted_calls")
async def counted_calls(request: web.Request) -> web.Response:
    """Calls in this thread, and in the one that runs prompts."""
    (running,) = [thread.ident for thread in threading.enumerate() if "prompt_worker" in thread.name]
    return web.json_response({"answering": calls[threading.get_ident()], "running": calls[running]})


threading.setprofile(count)  # for threads that start from now on
sys.setprofile(count)
