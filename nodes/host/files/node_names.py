"""The names that the page gives new nodes of the pack, in its languages."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache

from .expert_folders import PACK


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
