"""ComfyUI's server, and the page: messages to the one that sent a prompt, warnings of a run, and the nodes' help.

`web/mcdm.js` writes messages on the nodes that they are about.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from comfy_execution.utils import get_executing_context

import nodes

from ....mcdm_core.product.terms.term_numbers import TermError

WARNING = "mcdm.warning"
"""Event: what a node warned of while it ran."""

REFUSALS = "mcdm.refusals"
"""Event: what a prompt is refused for and warned of; the page forgets what it was told of earlier prompts."""

_REFUSAL = "mcdm.refusal"
"""Event: what a run is refused for, at the node that mends it; ComfyUI says the same of the node that ran."""

PACK = Path(__file__).resolve().parents[3]
WEB = PACK / "web"  # the extension's WEB_DIRECTORY


def prompt_server() -> Any | None:
    """The server that runs, where there is one."""
    # Not imported: that would start things that only main.py should.
    server = sys.modules.get("server")
    return getattr(server.PromptServer, "instance", None) if server else None


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
        id: The id of this execution of the prompt.
        node: Id of the node that runs.
        nodes: Its nodes in API format, by their ids; empty if the prompt is no longer among those that run.
        page: The page that sent it.
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
    for _, running_id, prompt, extra_data, *_ in server.prompt_queue.get_current_queue_volatile()[0]:
        if running_id == context.prompt_id:
            return RunningPrompt(running_id, context.node_id, prompt, page_of(server.client_id, extra_data))
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
        node, running = node_of(error.index, error.input), running_prompt()
        if node is not None and running is not None:
            running.page.send(_REFUSAL, running.about(node, str(error)))
        raise


def page_of(client: Any, extra_data: Any) -> Page:
    """The page that sent a prompt.

    Args:
        client: The request's "client_id".
        extra_data: The request's "extra_data". As the client's, it may be anything.
    """
    workflow = extra_data
    for key in ("extra_pnginfo", "workflow", "id"):
        workflow = workflow.get(key) if isinstance(workflow, dict) else None
    return Page(*(value if isinstance(value, str) else None for value in (client, workflow)))


class NodeWarnings(logging.Handler):
    """Shows warnings that this pack logs while a node runs on that node: all of a run together, without repetitions."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._run: tuple[str, str] | None = None
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Send the page a warning, with those before it; nothing outside a node, or without a server."""
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


def serve_help() -> None:
    """Answer for the nodes' help pages in every language of the page, where there is a server.

    The page looks for a node's help in its own language first, `docs/MCDM_Expert/en.md`, and reports an error on its
    console where that is missing, before it takes `docs/MCDM_Expert.md`. The pack has one page a node, which answers
    both.
    """
    server = prompt_server()
    if server is None:
        return
    names = [name for name, folder in nodes.EXTENSION_WEB_DIRS.items() if Path(folder).resolve() == WEB]
    for page in sorted((WEB / "docs").glob("*.md")):
        for name in names:
            server.routes.get(f"/extensions/{name}/docs/{page.stem}/{{language}}.md")(partial(_send_file, page))


async def _send_file(file: Path, request: web.Request) -> web.StreamResponse:
    return web.FileResponse(file)
