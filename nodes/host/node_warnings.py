"""Warnings, shown on the node that gives them as well as in the log.

Whatever this pack logs as a warning while a node runs is sent to the page, where `web/mcdm.js` writes it on that node.
Without a page nobody listens, and without a server nothing is sent.
"""

from __future__ import annotations

import logging
import sys

from comfy_execution.utils import get_executing_context

EVENT = "mcdm.warning"


class NodeWarnings(logging.Handler):
    """Sends warnings to the page, all of one run of a node together, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._run: tuple[str, str] | None = None
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See the base class."""
        context = get_executing_context()
        server = sys.modules.get("server")  # as in queued_prompt: importing it would start things
        instance = getattr(server.PromptServer, "instance", None) if server else None
        if context is None or instance is None:
            return
        if (run := (context.prompt_id, context.node_id)) != self._run:
            self._run, self._lines = run, []
        line = record.getMessage()
        if line not in self._lines:
            self._lines.append(line)
            instance.send_sync(EVENT, {"node": context.node_id, "text": "\n".join(self._lines)}, instance.client_id)


def show_warnings() -> None:
    """Attach the handler to the logger of the whole pack, once."""
    pack = logging.getLogger(__package__.removesuffix(".nodes.host"))
    if not any(isinstance(handler, NodeWarnings) for handler in pack.handlers):
        pack.addHandler(NodeWarnings())
