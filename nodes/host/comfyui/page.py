"""Messages to the page that sent a prompt; `web/mcdm.js` writes them on the nodes that they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from comfy_execution.utils import get_executing_context

from ....mcdm_core.product.term_settings import TermError
from .prompt_server import prompt_server

WARNING = "mcdm.warning"
"""Event: what a node warned of while it ran."""

REFUSALS = "mcdm.refusals"
"""Event: what a prompt is refused for and warned of; the page forgets what it was told of earlier prompts."""

_REFUSAL = "mcdm.refusal"
"""Event: what a run is refused for, at the node that mends it; ComfyUI says the same of the node that ran."""


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


class RunningPrompt(NamedTuple):
    """The prompt whose node runs.

    Attributes:
        id: Of this execution of it.
        node: Id of the node that runs.
        nodes: In API format, by their ids; empty if the prompt is no longer among those that run.
        page: That sent it.
    """

    id: str
    node: str
    nodes: dict[str, Any]
    page: Page

    def about(self, node_id: str, text: str) -> dict[str, Any]:
        """A text about a node, as the page is sent it; the type is None for a node made by node expansion."""
        return {"node": node_id, "type": self.nodes.get(node_id, {}).get("class_type"), "text": text}


def running_prompt() -> RunningPrompt | None:
    """The prompt whose node runs in this thread; None outside a node, or without a server."""
    context, server = get_executing_context(), prompt_server()
    if context is None or server is None:
        return None
    for _, running_id, nodes, extra_data, *_ in server.prompt_queue.get_current_queue_volatile()[0]:
        if running_id == context.prompt_id:
            return RunningPrompt(running_id, context.node_id, nodes, page_of(server.client_id, extra_data))
    return RunningPrompt(context.prompt_id, context.node_id, {}, page_of(server.client_id, None))


@contextmanager
def refusals_at_experts(node_of: Callable[[int, str], str | None]) -> Iterator[None]:
    """Tell the page of a `TermError` that passes, at the node that mends it.

    Args:
        node_of: From the expert's index and the name of the input that mends it to the id of the node that has this
            input; None if that is the node that runs, or isn't known.
    """
    try:
        yield
    except TermError as error:
        node, running = node_of(error.index, error.setting), running_prompt()
        if node is not None and running is not None:
            running.page.send(_REFUSAL, running.about(node, str(error)))
        raise


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
