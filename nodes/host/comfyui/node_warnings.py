"""Warnings, shown on the node that gives them as well as in the log.

Each warning that this pack logs while a node runs is sent to the page, where `web/mcdm.js` writes it on that node.
Without a server nothing is sent.
"""

from __future__ import annotations

import logging
from typing import Any

from comfy_execution.utils import get_executing_context

from .page import WARNING, page_of
from .prompt_server import prompt_server


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
            node_type, extra_data = _running(server.prompt_queue, *run)
            warning = {"node": context.node_id, "type": node_type, "text": "\n".join(self._lines)}
            page_of(server.client_id, extra_data).send(WARNING, warning)


def _running(queue: Any, prompt_id: str, node_id: str) -> tuple[str | None, dict]:
    """The type of a node that runs, and the extra data of its prompt."""
    for _, running_id, prompt, extra_data, *_ in queue.get_current_queue_volatile()[0]:
        if running_id == prompt_id:
            return prompt.get(node_id, {}).get("class_type"), extra_data
    return None, {}


def show_warnings() -> None:
    """Attach the handler to the logger of the whole pack, once."""
    pack = logging.getLogger(__package__.removesuffix(".nodes.host.comfyui"))
    if not any(isinstance(handler, NodeWarnings) for handler in pack.handlers):
        pack.addHandler(NodeWarnings())
