"""Warnings, shown on the node that gives them as well as in the log.

Each warning that this pack logs while a node runs is sent to the page, where `web/mcdm.js` writes it on that node.
Without a server nothing is sent.
"""

from __future__ import annotations

import logging
from typing import Any

from comfy_execution.utils import get_executing_context

from .prompt_server import prompt_server

EVENT = "mcdm.warning"


class NodeWarnings(logging.Handler):
    """Sends warnings to the page: all from one run of a node together, without repetitions."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._run: tuple[str, str] | None = None
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See the base class."""
        context = get_executing_context()
        server = prompt_server()
        if context is None or server is None:
            return
        if (run := (context.prompt_id, context.node_id)) != self._run:
            self._run, self._lines = run, []
        line = record.getMessage()
        if line not in self._lines:
            self._lines.append(line)
            warning = {"node": context.node_id, "text": "\n".join(self._lines)}
            server.send_sync(EVENT, {**warning, **_origin(server.prompt_queue, *run)}, server.client_id)


def _origin(queue: Any, prompt_id: str, node_id: str) -> dict[str, str | None]:
    """Type of the node and id of the page's workflow: the page may show another one by now, with the same node ids."""
    for _, running_id, prompt, extra, *_ in queue.get_current_queue_volatile()[0]:
        if running_id == prompt_id:
            workflow = (extra.get("extra_pnginfo") or {}).get("workflow") or {}
            return {"type": prompt.get(node_id, {}).get("class_type"), "workflow": workflow.get("id")}
    return {"type": None, "workflow": None}


def show_warnings() -> None:
    """Attach the handler to the logger of the whole pack, once."""
    pack = logging.getLogger(__package__.removesuffix(".nodes.host.comfyui"))
    if not any(isinstance(handler, NodeWarnings) for handler in pack.handlers):
        pack.addHandler(NodeWarnings())
