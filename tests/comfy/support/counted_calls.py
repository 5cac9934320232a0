"""For a server of the tests, among its custom nodes: GET /counted_calls says how many calls of functions it has made.

They are as many on a machine at work as on a quiet one.
"""

import sys
import threading
from collections import Counter

from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict[str, type] = {}
calls: Counter[int] = Counter()


def count(frame, event, argument) -> None:
    """Count a call, also one of a built-in function."""
    if event in ("call", "c_call"):
        calls[threading.get_ident()] += 1


@PromptServer.instance.routes.get("/counted_calls")
async def counted_calls(request: web.Request) -> web.Response:
    """Calls in this thread, and in the one that runs prompts."""
    (running,) = [thread.ident for thread in threading.enumerate() if "prompt_worker" in thread.name]
    return web.json_response({"answering": calls[threading.get_ident()], "running": calls[running]})


threading.setprofile(count)  # of threads that start from now on
sys.setprofile(count)
