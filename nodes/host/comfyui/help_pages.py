"""The nodes' help pages in every language of the page.

The page asks for a node's help by its own language first, for `docs/MCDM_Expert/en.md`, and reports an error on its
console where that is missing, before it takes `docs/MCDM_Expert.md`. The pack has one page a node, which answers both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

import nodes

from .prompt_server import prompt_server

WEB = Path(__file__).resolve().parents[3] / "web"  # the extension's WEB_DIRECTORY


def serve_help() -> None:
    """Add the routes to ComfyUI's server, where there is one."""
    server = prompt_server()
    if server is None:
        return
    names = [name for name, folder in nodes.EXTENSION_WEB_DIRS.items() if Path(folder).resolve() == WEB]
    for page in sorted((WEB / "docs").glob("*.md")):
        for name in names:
            server.routes.get(f"/extensions/{name}/docs/{page.stem}/{{language}}.md")(_answer(page))


def _answer(page: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(page)

    return answer
