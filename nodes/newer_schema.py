"""Parts of a node's schema that older ComfyUI does not know; there they are left out."""

import inspect
from dataclasses import fields
from typing import Any

from comfy_api.latest import io

_SEARCHED = any(field.name == "search_aliases" for field in fields(io.Schema))
_FOLDED = "advanced" in inspect.signature(io.Float.Input).parameters


def found_by(*words: str) -> dict[str, Any]:
    """For a schema: words under which the node search lists the node beside its name, separated by commas."""
    return {"search_aliases": ", ".join(words).split(", ")} if _SEARCHED else {}


def advanced() -> dict[str, Any]:
    """For an input with a widget: shown only when the user asks for the node's advanced inputs."""
    return {"advanced": True} if _FOLDED else {}
