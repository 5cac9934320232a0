"""Links of a prompt in API format."""

from __future__ import annotations

from typing import Any

LINKS = ("model", "condition", "null")
"""Inputs of an expert that other nodes make."""

Link = tuple[str, int]
"""A node, by its id in a prompt, and the number of its output."""


def as_link(value: Any) -> Link | None:
    """What an input of a node is linked to; None if it is a value, or no proper link."""
    match value:
        case [str(source), int(slot)]:
            return source, slot
    return None
