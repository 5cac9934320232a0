"""ComfyUI's server."""

from __future__ import annotations

import sys
from typing import Any


def prompt_server() -> Any | None:
    """The server that runs, where there is one."""
    # Not imported: that would start things that only main.py should.
    server = sys.modules.get("server")
    return getattr(server.PromptServer, "instance", None) if server else None
