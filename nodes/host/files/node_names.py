"""The titles of nodes, and the names that the page gives new nodes of the pack, in its languages."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from typing import Any

from .expert_folders import PACK

_LONGEST_TITLE = 80  # letters of a title in a message, and in pictures


def title_of(node: dict[str, Any]) -> str:
    """The title of a node in API format, on one line; empty if it is the name of its type, or there is none."""
    kept = node.get("_meta")
    title = kept.get("title") if isinstance(kept, dict) else None
    if not isinstance(title, str) or title in {node["class_type"], *names_of_type(node["class_type"])}:
        return ""
    return " ".join(title.split())[:_LONGEST_TITLE]


def names_of_type(class_type: str) -> set[str]:
    """The names of a type of nodes of this pack; none of another pack's."""
    return _names().get(class_type, set())


@cache
def _names() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for file in (PACK / "locales").glob("*/nodeDefs.json"):
        for class_type, texts in json.loads(file.read_text(encoding="utf-8")).items():
            found[class_type].add(texts["display_name"])
    return found
