"""Warnings, shown on the node that gives them as well as in the log.

Each warning that this pack logs while a node runs is sent to the page, where `web/mcdm.js` writes it on that node.
Without a server nothing is sent.
"""

from __future__ import annotations

import logging

from .page import WARNING, running_prompt


class NodeWarnings(logging.Handler):
    """Sends warnings to the page: all from one run of a node together, without repetitions."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._run: tuple[str, str] | None = None
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See the base class."""
        if (running := running_prompt()) is None:
            return
        if (run := (running.id, running.node)) != self._run:
            self._run, self._lines = run, []
        line = record.getMessage()
        if line not in self._lines:
            self._lines.append(line)
            running.page.send(WARNING, running.about(running.node, "\n".join(self._lines)))


def show_warnings() -> None:
    """Attach the handler to the logger of the whole pack, once."""
    pack = logging.getLogger(__package__.removesuffix(".nodes.host.comfyui"))
    if not any(isinstance(handler, NodeWarnings) for handler in pack.handlers):
        pack.addHandler(NodeWarnings())
