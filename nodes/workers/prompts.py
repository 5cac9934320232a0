"""Runs parts of prompts on a worker, by ComfyUI's executor with a cache of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import execution
from comfy_execution.graph_utils import is_link
from comfy_execution.validation import validate_node_input

import nodes

from ..host.chain.expert_chain import LABELS
from ..host.prompt.queued_prompt import remember_prompt

_NO_CACHE_LIMITS = {"lru": 0, "ram": 0.0, "ram_inactive": 0.0}
_KEPT = 32  # number of recent parts whose nodes stay cached until a run needs only its own


class PromptRunner:
    """Runs nodes as ComfyUI does: each only once as long as it stays cached."""

    def __init__(self) -> None:
        self._executor = execution.PromptExecutor(
            _NoPage(), cache_type=execution.CacheType.CLASSIC, cache_args=_NO_CACHE_LIMITS
        )
        self._recent: list[dict[str, Any]] = []
        self._count = 0

    def outputs(self, part: dict[str, Any], links: Sequence[Any], keep: bool = False) -> list[Any]:
        """The linked outputs of nodes.

        Args:
            part: Nodes in API format, by keys that are digests of them.
            links: For each output the key of its node and its index.
            keep: Whether to keep the outputs of earlier calls cached, too, until a call without `keep`.

        Raises:
            ValueError: If a node is missing, has a wrong input, or fails.
        """
        wanted = [*self._recent[-_KEPT:], part] if keep else [part]
        prompt = {key: node for each in wanted for key, node in each.items()}
        roots = list(dict.fromkeys(str(key) for key, _ in links))
        self._count += 1
        prompt_id = f"mcdm {self._count}"
        asyncio.run(_check(prompt_id, prompt, roots))
        self._executor.execute(prompt, prompt_id, {}, roots)
        if not self._executor.success:
            raise ValueError(_error_in(self._executor.status_messages))
        self._recent = wanted  # without a part that cannot be run, which would spoil later calls
        return [asyncio.run(self._output(str(key), int(slot))) for key, slot in links]

    async def _output(self, key: str, slot: int) -> Any:
        entry = await self._executor.caches.outputs.get(key)
        values = entry.outputs[slot]
        if len(values) != 1:
            raise ValueError(f"Expected one MODEL or CONDITIONING of a node and got {len(values)}; send no lists.")
        return values[0]


class _NoPage:
    """Takes the progress messages of ComfyUI's executor, and drops them."""

    client_id = None
    last_node_id = None
    last_prompt_id = None
    sockets_metadata: dict[str, Any] = {}  # noqa: RUF012 - never filled

    def send_sync(self, event: str, data: Any, sid: Any = None) -> None:
        """Send nothing."""


def check_part(part: dict[str, Any], links: Mapping[str, Any]) -> None:
    """Refuse nodes that can't be run, or whose linked outputs are of a wrong type.

    Args:
        part: Nodes in API format.
        links: Links to "model", "condition" and "null", by these names.

    Raises:
        ValueError: With the first error.
    """
    asyncio.run(_check("mcdm check", part, list(dict.fromkeys(str(key) for key, _ in links.values()))))
    for name, (key, slot) in links.items():
        kind, wanted = part[key]["class_type"], "MODEL" if name == "model" else "CONDITIONING"
        types = nodes.NODE_CLASS_MAPPINGS[kind].RETURN_TYPES
        made = types[slot] if 0 <= slot < len(types) else "nothing"
        if not validate_node_input(made, wanted):
            raise ValueError(
                f"Expected a {wanted} as the {LABELS.get(name, name)} and got {made}, which is output {slot + 1} of "
                f"{kind}; connect another."
            )


async def _check(prompt_id: str, prompt: dict[str, Any], roots: Sequence[str]) -> None:
    """Check a prompt as ComfyUI does at POST /prompt.

    Raises:
        ValueError: With the first error.
    """
    for node in prompt.values():
        if node.get("class_type") not in nodes.NODE_CLASS_MAPPINGS:
            raise ValueError(f"Expected the node {node.get('class_type')}, which isn't installed there; install it.")
        if any(is_link(value) and value[0] not in prompt for value in node["inputs"].values()):
            raise ValueError(f"Expected all that {node['class_type']} is linked to and a part is missing; try again.")
    remember_prompt({"prompt": prompt})
    validated: dict[str, Any] = {}
    for root in roots:
        valid, _, _ = await execution.validate_inputs(prompt_id, prompt, root, validated)
        if not valid:
            raise ValueError(_first_fault(prompt, validated))


def _first_fault(prompt: dict[str, Any], validated: dict[str, Any]) -> str:
    """The first error that is not caused by another node's error, as a sentence."""
    faults = [(key, error) for key, (_, errors, _) in validated.items() for error in errors]
    for key, error in faults:
        if error["type"] != "exception_during_inner_validation":
            said = f"{prompt[key]['class_type']}: {error['message']}: {error['details']}"
            remedy = "; choose another, or put it there if it is a file" if "not in list" in said else ""
            return f"{said}{remedy}."
    return f"{prompt[faults[0][0]]['class_type']} can't be run." if faults else "The nodes can't be run."


def _error_in(messages: Sequence[tuple[str, dict[str, Any]]]) -> str:
    for event, data in messages:
        if event == "execution_error":
            return f"{data['node_type']}: {data['exception_message']}"
    return "The nodes were interrupted."
