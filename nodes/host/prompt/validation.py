"""`validate_inputs` of nodes, which marks the node where a mistake is mended, and names the input that is wrong.

A check of one node may find that another is at fault: a guider sees that its products lack the null of an expert. So
all needed nodes of a prompt are checked before the first is marked, and each is marked for its own fault alone. An
expert in chains of several ends is marked only if all of them say so: ComfyUI runs none of the nodes behind it then.

ComfyUI calls a node's `validate_inputs` with the inputs that its signature names, and marks every one of them where it
refuses. So the signature names one, the same in every prompt, and the sentence begins with the input at fault if that
is another. ComfyUI doesn't check the range and the choices of the one that is named: `Validation` does.

ComfyUI's page shows such sentences only on request, so this pack's `web/mcdm.js` is sent them, too, and writes each on
the node that is marked for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from inspect import Parameter, Signature
from typing import Any

from comfy_api.latest import io

from ..comfyui.page import REFUSALS, page_of, prompt_server
from .faults import Check, Fault
from .queued_chain import cut_experts, ends_of
from .queued_prompt import QueuedNode, class_of, current_prompt, remember_prompt, schema_of

LEADS_NOWHERE = (
    "This expert takes no part in the picture: its experts output leads nowhere. Connect it to the next Diffusion "
    "Expert, or to the node that samples."
)


class Validation:
    """To be wrapped in `classmethod` as a node's `validate_inputs`; the node needs the hidden unique_id.

    Args:
        marked: The input that ComfyUI marks where it refuses a node; every such node in a prompt has it.
        check: Finds what is wrong, except for infinite numbers, NaN, and values in the place of links, which ComfyUI
            lets pass and this class finds.
    """

    def __init__(self, marked: str, check: Check = lambda node: None):
        self._marked = marked
        self._check = check
        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("cls", marked)]
        self.__signature__ = Signature(parameters)

    def __call__(self, cls: Any, **marked: Any) -> bool | str:
        """True, or the sentence for the user."""
        node = current_prompt().nodes.get(cls.hidden.unique_id)
        if node is not None and (fault := faults_of_prompt().get(node.id)) is not None:
            return fault.sentence if fault.input == self._marked else f"{node.label(fault.input)}: {fault.sentence}"
        schema = next(known for known in cls.define_schema().inputs if known.id == self._marked)
        return _outside(schema, marked.get(self._marked)) or True

    def fault(self, node: QueuedNode) -> Fault | None:
        """What is wrong with a node, or with another one as this one shows."""
        return _not_finite(node) or _unlinked(node) or self._check(node)


def faults_of_prompt() -> dict[str, Fault]:
    """What the prompt that is being validated is refused for: one fault of each node at fault, by the nodes' ids."""
    return current_prompt().once("faults", _find_faults)


def watch_prompts() -> None:
    """Have ComfyUI's server, where there is one, hand over every prompt, to be kept and then judged."""
    if (server := prompt_server()) is not None:
        server.add_on_prompt_handler(remember_prompt)
        server.add_on_prompt_handler(tell_refusals)


def tell_refusals(json_data: dict) -> dict:
    """Send the page all that its prompt is refused for and warned of, maybe nothing; returns the request unchanged."""
    page = page_of(json_data.get("client_id"), json_data.get("extra_data"))
    if page.client is not None:
        nodes = current_prompt().nodes
        faults = [(nodes[key], fault.sentence) for key, fault in faults_of_prompt().items() if key in nodes]
        idle = [(node, LEADS_NOWHERE) for node in cut_experts()]
        page.send(REFUSALS, {"refusals": [*_told(faults)], "warnings": [*_told(idle)]})
    return json_data


def _told(said: Iterable[tuple[QueuedNode, str]]) -> Iterator[dict[str, str]]:
    """What the page is told of nodes."""
    return ({"node": node.id, "type": node.class_type, "text": text} for node, text in said)


def _validated() -> Iterator[tuple[QueuedNode, Validation]]:
    """The needed nodes of the prompt that are validated here, with what validates them."""
    for class_type, needed in current_prompt().needed.items():
        validate = getattr(getattr(class_of(class_type), "validate_inputs", None), "__func__", None)
        if isinstance(validate, Validation):
            yield from ((node, validate) for node in needed)


def _find_faults() -> dict[str, Fault]:
    faults: dict[str, Fault] = {}
    elsewhere: dict[str, list[tuple[QueuedNode, Fault]]] = defaultdict(list)  # by the node at fault, who sees it
    for node, validation in _validated():
        if (fault := validation.fault(node)) is None:
            continue
        if fault.at in (None, node.id):
            faults[node.id] = fault
        else:
            elsewhere[fault.at].append((node, fault))
    for key, seen in elsewhere.items():
        expert = current_prompt().nodes.get(key)
        if expert is None or not {node.id for node in ends_of(expert)} <= {node.id for node, _ in seen}:
            for node, fault in seen:
                faults.setdefault(node.id, Fault("experts", fault.sentence))
        else:
            faults.setdefault(key, seen[0][1])
    return {key: fault for key, fault in faults.items() if fault.cause not in faults}


def _not_finite(node: QueuedNode) -> Fault | None:
    """The fault of a node's first number that is infinite or NaN."""
    for known in schema_of(node.class_type):
        given = node.inputs.get(known.id)
        if isinstance(known, io.Float.Input) and isinstance(given, float) and not math.isfinite(given):
            expected = f"Expected a number for {node.label(known.id)}, {known.min:g} to {known.max:g},"
            return Fault(known.id, f"{expected} and got {given}; set one, such as {known.default:g}.")
    return None


def _unlinked(node: QueuedNode) -> Fault | None:
    """The fault of a node's first socket that is given a value, such as a text for a condition."""
    for known in schema_of(node.class_type):
        given = node.inputs.get(known.id)
        if isinstance(known, io.WidgetInput) or known.id not in node.inputs or isinstance(given, list):
            continue
        if given is not None or not known.optional:
            label = node.label(known.id)
            return Fault(known.id, f"Expected a link for {label} and got {given!r:.80}; connect an output of a node.")
    return None


def _outside(schema: Any, value: Any) -> str | None:
    """The sentence about a value outside its input's range or choices; None if another node makes the value."""
    low, high, choices = (getattr(schema, name, None) for name in ("min", "max", "options"))
    if isinstance(value, (int, float)):
        if low is not None and value < low:
            return f"Value {value} smaller than min of {low}"
        if high is not None and value > high:
            return f"Value {value} bigger than max of {high}"
    if choices is not None and value is not None and value not in choices:
        return f"Value {value!r} not in list {choices}"
    return None
