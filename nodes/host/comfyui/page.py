"""Messages to the page that sent a prompt; `web/mcdm.js` writes them on the nodes that they are about."""

from __future__ import annotations

from typing import Any, NamedTuple

from .prompt_server import prompt_server

WARNING = "mcdm.warning"
"""Event: what a node warned of while it ran."""

REFUSALS = "mcdm.refusals"
"""Event: all that a prompt is refused for; the page forgets what it was told of earlier prompts."""


class Page(NamedTuple):
    """The page that sent a prompt.

    Attributes:
        client: Its connection; None if the prompt came from elsewhere.
        workflow: The id of the workflow it showed: it may show another one by now, with the same node ids.
    """

    client: str | None
    workflow: str | None

    def send(self, event: str, data: dict[str, Any]) -> None:
        """Send an event to the page, if there is one."""
        server = prompt_server()
        if server is not None and self.client is not None:  # to None ComfyUI sends what all pages get
            server.send_sync(event, {**data, "workflow": self.workflow}, self.client)


def page_of(client: Any, extra_data: Any) -> Page:
    """The page that sent a prompt.

    Args:
        client: The request's "client_id".
        extra_data: The request's "extra_data". As the client's, it may be anything.
    """
    found = extra_data
    for key in ("extra_pnginfo", "workflow", "id"):
        found = found.get(key) if isinstance(found, dict) else None
    return Page(*(value if isinstance(value, str) else None for value in (client, found)))
