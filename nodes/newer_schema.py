"""Parts of a node's schema that are left out in older ComfyUI, which does not know them."""

import inspect
from dataclasses import fields
from typing import Any

from comfy_api.latest import io

_SEARCHED = any(field.name == "search_aliases" for field in fields(io.Schema))
_FOLDED = "advanced" in inspect.signature(io.Float.Input).parameters


def search_aliases(*words: str) -> dict[str, Any]:
    """For a schema: further names by which the node search finds the node, separated by commas."""
    return {"search_aliases": ", ".join(words).split(", ")} if _SEARCHED else {}


def advanced() -> dict[str, Any]:
    """For an input with a widget: shown only when the user asks for the node's advanced inputs."""
    return {"advanced": True} if _FOLDED else {}
