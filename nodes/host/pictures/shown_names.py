"""What pictures call experts: by the titles of their nodes, as the user sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..chain.expert_chain import Experts
from ..comfyui.page import running_prompt
from ..files.node_names import title_of


def shown_names(experts: Experts, nodes: Mapping[str, Any] | None = None) -> list[str]:
    """For each expert the title of its node, if the user gave it one that no other has; else its name in messages.

    Args:
        experts: The chain.
        nodes: The prompt's nodes in API format, by their ids; those of the prompt that runs if None.
    """
    if nodes is None:
        running = running_prompt()
        nodes = running.nodes if running is not None else {}
    found = [nodes.get(expert.node or "") for expert in experts]
    titles = [title_of(node) if node is not None else "" for node in found]
    counts = Counter(titles)
    return [
        title if title and counts[title] == 1 else expert.label for title, expert in zip(titles, experts, strict=True)
    ]
