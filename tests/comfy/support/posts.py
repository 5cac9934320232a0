"""What POST /prompt would say of nodes of a prompt."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def queued(host: Any, prompt: dict) -> Iterator[None]:
    """The block is within the validation of a prompt."""
    host.prompt.queued_prompt.remember_prompt({"prompt": prompt})
    try:
        yield
    finally:
        host.prompt.queued_prompt.remember_prompt({})


def found_by(host: Any, check: Callable[..., Any], prompt: dict, node_id: str, *more: Any) -> Any:
    """The fault that a check finds in one node of a prompt, or None."""
    with queued(host, prompt):
        return check(host.prompt.queued_prompt.find_node(node_id), *more)


def posted(host: Any, node: Any, prompt: dict, node_id: str) -> bool | str:
    """True or the sentence about one node of a prompt."""
    hidden = {"UNIQUE_ID": node_id}  # newer ComfyUI looks for it one level deeper
    inputs = prompt[node_id]["inputs"].items()
    known = {name: None if isinstance(value, list) else value for name, value in inputs}  # as before anything runs
    with queued(host, prompt):
        prepared = node.classes[prompt[node_id]["class_type"]].PREPARE_CLASS_CLONE({**hidden, "hidden_inputs": hidden})
        named = inspect.signature(prepared.validate_inputs).parameters
        return prepared.validate_inputs(**{name: value for name, value in known.items() if name in named})


def said_of(host: Any, node: Any, class_type: str, **inputs: Any) -> bool | str:
    """True or the sentence about a node with these inputs, alone in a prompt."""
    return posted(host, node, {"1": {"class_type": class_type, "inputs": inputs}}, "1")
