"""What the user calls nodes and experts: by the titles of nodes, where these are not the names of their types."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any

from ..comfyui.page import PACK, running_prompt
from .expert_chain import Experts

_LONGEST_TITLE = 80  # letters of a title in a message, and in pictures


def shown_names(experts: Experts) -> list[str]:
    """For each expert the title of its node, if the user gave it one that no other has; else its name in messages."""
    running = running_prompt()
    nodes = running.nodes if running is not None else {}
    found = [nodes.get(expert.node or "") for expert in experts]
    titles = [title_of(node) if node is not None else "" for node in found]
    return [title or expert.label for title, expert in zip(telling(titles), experts, strict=True)]


def telling(titles: Sequence[str]) -> list[str]:
    """Titles as names: one that several have tells none of them, and is empty."""
    counts = Counter(titles)
    return [title if counts[title] == 1 else "" for title in titles]


def title_of(node: dict[str, Any]) -> str:
    """The title of a node in API format, on one line; empty if it is the name of its type, or there is none."""
    kept = node.get("_meta")
    title = kept.get("title") if isinstance(kept, dict) else None
    if not isinstance(title, str) or title in {node["class_type"], *_names_of_types().get(node["class_type"], ())}:
        return ""
    return " ".join(title.split())[:_LONGEST_TITLE]


@cache
def _names_of_types() -> dict[str, set[str]]:
    """The names that the page gives new nodes of this pack in its languages, by their types."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in (PACK / "locales").glob("*/nodeDefs.json"):
        for class_type, texts in json.loads(file.read_text(encoding="utf-8")).items():
            found[class_type].add(texts["display_name"])
    return found
