"""What POST /prompt would say of one node."""

import inspect
from typing import Any


def said_of(host: Any, node: Any, class_type: str, **inputs: Any) -> bool | str:
    """True or the sentence about a node with these inputs, alone in a prompt."""
    host.prompt.queued_prompt.remember_prompt({"prompt": {"1": {"class_type": class_type, "inputs": inputs}}})
    try:
        hidden = {"UNIQUE_ID": "1"}  # newer ComfyUI looks for it one level deeper
        prepared = node.classes[class_type].PREPARE_CLASS_CLONE({**hidden, "hidden_inputs": hidden})
        named = inspect.signature(prepared.validate_inputs).parameters
        return prepared.validate_inputs(**{name: value for name, value in inputs.items() if name in named})
    finally:
        host.prompt.queued_prompt.remember_prompt({})
