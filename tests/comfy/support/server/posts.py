"""The answer of POST /prompt about a node, or about the chain that it samples."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

EXPERT = {"model": ["load", 0], "condition": ["load", 1], "null": ["load", 2]}
EXPERT |= {"weight": 1.5, "reliability": 1.0, "start": 0.0, "end": 1.0}

VALIDATED = "custom_validation_failed"  # how ComfyUI calls a refusal by a node's own validation
MARKED = {  # the input at which ComfyUI shows it
    "MCDM_LoadExpert": "expert_name",
    "MCDM_EmptyLatent": "encoder",
    "MCDM_EncodeText": "encoder",
    "MCDM_EncodeClass": "encoder",
    "MCDM_EncodeMap": "map",
    "MCDM_Expert": "weight",
    "MCDM_ExpertRemote": "weight",
    "MCDM_KSampler": "experts",
    "MCDM_Inspect": "experts",
    "MCDM_ReliabilitySweep": "experts",
    "MCDM_Logic": "operation",
}


def prompt_node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node of a prompt."""
    return {"class_type": class_type, "inputs": inputs}


PAINTED = prompt_node("EmptyImage", width=32, height=32, batch_size=1, color=0xFFFFFF)


@contextmanager
def queued(host: Any, prompt: dict) -> Iterator[None]:
    """Within the block, the pack's checks see this prompt, as during its validation."""
    host.prompt.queued_prompt.remember_prompt({"prompt": prompt})
    try:
        yield
    finally:
        host.prompt.queued_prompt.remember_prompt({})


def shown(prompt: dict, node_id: str) -> dict:
    """A prompt with a node that needs the first output of one."""
    return {**prompt, "shown": prompt_node("PreviewImage", images=[node_id, 0])}


def faults_of(host: Any, prompt: dict) -> dict[str, Any]:
    """All faults of a prompt, by the ids of the nodes that are marked."""
    with queued(host, prompt):
        return host.prompt.validation.faults_of_prompt()


def apply_check(host: Any, check: Callable[..., Any], prompt: dict, node_id: str, *more: Any) -> Any:
    """The result of a check of one node of a prompt: mostly a fault, or None."""
    with queued(host, prompt):
        return check(host.prompt.queued_prompt.current_prompt().nodes[node_id], *more)


def posted(host: Any, node: Any, prompt: dict, node_id: str) -> bool | str:
    """True or the error message for one node of a prompt, whose output is shown."""
    prompt = shown(prompt, node_id)
    hidden = {"UNIQUE_ID": node_id}  # newer ComfyUI looks for it one level deeper
    inputs = prompt[node_id]["inputs"].items()
    known = {name: None if isinstance(value, list) else value for name, value in inputs}  # as before anything runs
    with queued(host, prompt):
        prepared = node.classes[prompt[node_id]["class_type"]].PREPARE_CLASS_CLONE({**hidden, "hidden_inputs": hidden})
        named = inspect.signature(prepared.validate_inputs).parameters
        return prepared.validate_inputs(**{name: value for name, value in known.items() if name in named})


def said_of(host: Any, node: Any, class_type: str, **inputs: Any) -> bool | str:
    """True or the error message for a node with these inputs, alone in a prompt."""
    return posted(host, node, {"1": prompt_node(class_type, **inputs)}, "1")


def said_of_chain(host: Any, nodes: Sequence[tuple[str, dict]], *rule: Any, denoise: float = 1.0) -> str | None:
    """The error message for a chain of nodes that a KSampler samples; None if there is no error.

    Args:
        host: The fixture.
        nodes: Their types and inputs; for Diffusion Expert beside `EXPERT`. An input of None is left unconnected.
        rule: The rule that combines the experts, Eq. 10 by default.
        denoise: The KSampler's denoise.
    """
    prompt, previous = {"load": prompt_node("CheckpointLoaderSimple", ckpt_name="a.safetensors")}, None
    for number, (class_type, settings) in enumerate(nodes, start=1):
        inputs = {**(EXPERT if class_type == "MCDM_Expert" else {}), **settings, "experts": previous}
        prompt[str(number)] = prompt_node(
            class_type, **{name: value for name, value in inputs.items() if value is not None}
        )
        previous = [str(number), 0]
    prompt["sample"] = prompt_node("MCDM_KSampler", experts=previous, denoise=denoise)
    fault = apply_check(host, host.prompt.chain_checks.check_chain, prompt, "sample", *rule)
    return fault and fault.sentence
