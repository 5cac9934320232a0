"""Nodes in API format: what one is, and its links."""

from __future__ import annotations

from typing import Any

Link = tuple[str, int]
"""A node, by its id in a prompt, and the number of its output."""


def as_link(value: Any) -> Link | None:
    """What an input of a node is linked to; None if it is a value, or no proper link."""
    match value:
        case [str(source), int(slot)]:
            return source, slot
    return None


def is_node(node: Any) -> bool:
    """Whether a value is a node in API format, as far as that shows."""
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
