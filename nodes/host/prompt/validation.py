"""`validate_inputs` of nodes that mark the one input that is wrong.

ComfyUI calls a node's `validate_inputs` with the inputs that its signature names, and marks every one of them where it
refuses; it reads the signature anew for each node, but without saying for which. So the signature names the inputs that
are at fault in the prompt being validated, and none where nothing is. Where two nodes of one type are wrong in
different inputs, both are marked at both, each with its own sentence.

ComfyUI leaves ranges and choices of named inputs to the node, of every node of the type: they are checked here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from comfy_api.latest import io

from .queued_prompt import find_node, needed_nodes, schema_of


class Fault(NamedTuple):
    """What is wrong with a node of a prompt.

    Attributes:
        input: The input that it is wrong with, connected or not.
        sentence: For the user.
    """

    input: str
    sentence: str


def fault_of(name: str, trial: Callable[[], object]) -> Fault | None:
    """What is wrong with an input, if a trial of it raises ValueError."""
    try:
        trial()
    except ValueError as error:
        return Fault(name, str(error))
    return None


Check = Callable[[str], "Fault | None"]
"""From a node's id in the prompt to what is wrong with it; None also where it cannot be known."""


class Validation:
    """To be wrapped in `classmethod` as a node's `validate_inputs`; the node needs the hidden unique_id.

    Args:
        node_id: Of the node's schema.
        required: An input that every such node in a prompt has; marked where the one at fault isn't connected.
        check: Finds what is wrong, beside numbers that are infinite or none, which ComfyUI lets pass.
    """

    def __init__(self, node_id: str, required: str, check: Check = lambda node_id: None):
        self._node_id = node_id
        self._required = required
        self._check = check

    @property
    def __signature__(self) -> inspect.Signature:
        """The class, and the inputs to be marked: several only where several such nodes are wrong in other ways."""
        names = dict.fromkeys(["cls", *self._marked()])
        return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names])

    def __call__(self, cls: Any, **inputs: Any) -> bool | str:
        """True, or the sentence for the user."""
        unique_id = cls.hidden.unique_id
        fault = self._fault(unique_id)
        if fault is not None:
            return fault.sentence
        schema = {value.id: value for value in cls.define_schema().inputs}
        return next(filter(None, (_outside(schema[name], value) for name, value in inputs.items())), True)

    def _marked(self) -> Iterator[str]:
        for unique_id, node in needed_nodes(self._node_id):
            if fault := self._fault(unique_id):
                yield fault.input if fault.input in node["inputs"] else self._required

    def _fault(self, unique_id: str) -> Fault | None:
        node = find_node(unique_id)
        return (_endless(node) or self._check(unique_id)) if node is not None else None


def _endless(node: dict) -> Fault | None:
    """The first number of a node that is infinite or none."""
    for known in schema_of(node["class_type"]):
        given = node["inputs"].get(known.id)
        if isinstance(known, io.Float.Input) and isinstance(given, float) and not math.isfinite(given):
            expected = f"Expected a number for {known.id}, {known.min:g} to {known.max:g},"
            return Fault(known.id, f"{expected} and got {given}; set one, such as {known.default:g}.")
    return None


def _outside(schema: Any, value: Any) -> str | None:
    """The sentence about a value outside its input's range or choices; None for one made by another node."""
    low, high, choices = (getattr(schema, name, None) for name in ("min", "max", "options"))
    if isinstance(value, (int, float)):
        if low is not None and value < low:
            return f"Value {value} smaller than min of {low}."
        if high is not None and value > high:
            return f"Value {value} bigger than max of {high}."
    if choices is not None and value is not None and value not in choices:
        return f"Value {value!r} not in list {choices}."
    return None
