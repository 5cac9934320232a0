"""Checks of a whole prompt at POST /prompt, where ComfyUI shows a node only its own widget values.

A handler that ComfyUI calls with every prompt it is sent keeps the prompt for the validation that follows in the same
task; the nodes' `validate_inputs` then look at their neighbours in it. Where a value comes from a node of another pack
nothing is known, and the run itself checks again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ...mcdm_core.conditions import Encoder
from ...mcdm_core.product.eq10 import EQ10
from ...mcdm_core.product.planner import Planner
from ...mcdm_core.product.rule import Rule
from ...mcdm_core.product.share import Share
from ...mcdm_core.sampling.sweep import Sweep
from .folders import inspect_expert
from .trials import try_encoder

Prompt = dict[str, dict]

_prompt: ContextVar[Prompt | None] = ContextVar("mcdm_prompt", default=None)


def watch_prompts() -> None:
    """Register the handler with ComfyUI's server, where there is one."""
    server = sys.modules.get("server")  # importing it would start things that only main.py should
    instance = getattr(server.PromptServer, "instance", None) if server else None
    if instance is not None:
        instance.add_on_prompt_handler(remember_prompt)


def remember_prompt(json_data: dict) -> dict:
    """Keep a prompt for its validation; returns the request unchanged."""
    prompt = json_data.get("prompt")
    _prompt.set(prompt if isinstance(prompt, dict) else None)
    return json_data


def check_encoder(node_id: str | None, given: str) -> bool | str:
    """Whether the encoder wired to an Encode … node reads what the node gives it.

    Args:
        node_id: The node's id in the prompt.
        given: See `try_encoder`.

    Returns:
        True, also where it cannot be known; else the sentence for the user.
    """
    node = _node(node_id)
    encoder = _encoder_of(node, "encoder") if node else None
    if encoder is None:
        return True
    try:
        try_encoder(encoder, given, node["inputs"])
    except ValueError as error:
        return str(error)
    return _check_made_for(encoder, node)


def check_expert(node_id: str | None) -> bool | str:
    """Whether an expert has the condition it needs, made for its own model.

    Returns:
        True, also where it cannot be known; else the sentence for the user.
    """
    node = _node(node_id)
    if node is None:
        return True
    known = _known_numbers(node["inputs"])
    try:
        share = Share(**known)
        if "weight" in known:
            share.check_condition("condition" in node["inputs"])
    except ValueError as error:
        return str(error)
    expert = _encoder_of(node, "model")
    if expert is None or expert.kind == "none":
        return True
    made_for = _check_made_for(expert, node)
    return _check_pictures(expert, node) if made_for is True else made_for


def _check_made_for(expert: Encoder, node: dict) -> bool | str:
    """Whether the condition and the null wired to a node were made for this expert."""
    for name in ("condition", "null"):
        source = _linked(node, name)
        made_for = _encoder_of(source, "encoder") if source else None
        if made_for and made_for.key != expert.key:
            other = expert.key.describe(made_for.key)
            return (
                f"This expert is driven by {expert.driven_by} and its {name} was made for one driven by {other}; "
                "connect an Encode … (Expert) node that has this expert's encoder."
            )
    return True


def _check_pictures(expert: Encoder, node: dict) -> bool | str:
    """Whether the condition and the null hold the pictures that the expert works on."""
    needed = {
        "MCDM_EncodeLowRes": ("enlarges a small picture", "Encode Low Resolution", expert.low_res is not None),
        "MCDM_EncodeInpaint": ("fills in a picture", "Encode Inpainting (Expert)", expert.inpaint),
    }
    for name in ("condition", "null"):
        passed = _encoded_by(node, name)
        for class_type, (works, title, wanted) in needed.items():
            if passed and wanted and class_type not in passed:
                return f"This expert {works} and its {name} has none; connect {title} between its Encode … node and it."
    return True


def _encoded_by(node: dict, name: str) -> list[str]:
    """The Encode … nodes that a condition comes through, none if it comes through any other node."""
    passed: list[str] = []
    link = node["inputs"].get(name)
    visited: set[str] = set()
    while isinstance(link, list) and link:
        source = _node(link[0]) or {}
        class_type = source.get("class_type", "")
        if not class_type.startswith("MCDM_Encode") or link[0] in visited:
            return []
        visited.add(link[0])
        passed.append(class_type)
        link = source["inputs"].get("null" if link[1] == 1 else "condition")
    return passed


def check_chain(node_id: str | None, rule: Rule = EQ10) -> bool | str:
    """Whether the experts wired to a guider or sampler can be combined; masks and windows are left to the run.

    Args:
        node_id: The node's id in the prompt.
        rule: How it combines them.

    Returns:
        True, also where it cannot be known; else the sentence for the user.
    """
    try:
        _check_shares(_known_chain(node_id), rule)
    except ValueError as error:
        return str(error)
    return True


def check_sweep(node_id: str | None, sweep: Sweep) -> bool | str:
    """As `check_chain`, for every cell of a sweep.

    Returns:
        True, also where it cannot be known; else the sentence for the user.
    """
    node = _node(node_id)
    whole = (_chain(node) if node else None) or []
    chain = _known_chain(node_id)
    try:
        if whole:
            sweep.check_expert(len(whole))
        for cell in sweep.cells() if chain else ():
            _check_shares(sweep.at(chain, cell), EQ10)
    except ValueError as error:
        return str(error)
    return True


@dataclass(frozen=True)
class _QueuedExpert(Share):
    """What a prompt says of an expert.

    Attributes:
        place: In the chain, from 1.
        has_null: False where it certainly has none.
    """

    place: int
    has_null: bool

    @property
    def label(self) -> str:
        """Its place in the chain."""
        return f"expert {self.place}"


def _check_shares(chain: Sequence[_QueuedExpert], rule: Rule) -> None:
    """Refuse experts that act everywhere and all the time and cannot be combined."""
    if chain:
        have_null = [expert.has_null for expert in chain]
        planner = Planner(chain, rule, have_null=have_null, give_null="connect its null")
        planner.plan(tuple(range(len(chain))))


def _lacks_null(expert: dict) -> bool:
    """Whether an expert certainly lacks a null: an unconditional one needs none, and of some nothing is known."""
    if "null" in expert:
        return False
    owner = _above_loader({"inputs": expert})
    source = _linked(owner, "model") or {}
    encoder = _encoder_of(owner, "model")
    return source.get("class_type") == "CheckpointLoaderSimple" or (encoder is not None and encoder.kind != "none")


def _above_loader(node: dict) -> dict:
    """The last node that a MODEL passes through between its loader and here; LoRAs and patches lie on the way."""
    visited = [node]
    while (source := _linked(visited[-1], "model")) and "model" in source["inputs"] and source not in visited:
        visited.append(source)
    return visited[-1]


def _node(node_id: Any) -> dict | None:
    prompt = _prompt.get()
    return prompt.get(node_id) if prompt is not None else None


def _linked(node: dict, name: str) -> dict | None:
    """The node that an input comes from."""
    link = node["inputs"].get(name)
    return _node(link[0]) if isinstance(link, list) and link else None


def _encoder_of(node: dict, name: str) -> Encoder | None:
    """The encoder of the Load Diffusion Expert node that an input comes from, None if that isn't what it is."""
    source = _linked(node, name)
    if source is None or source.get("class_type") != "MCDM_LoadExpert":
        return None
    expert_name = source["inputs"].get("expert_name")
    try:
        return inspect_expert(expert_name) if isinstance(expert_name, str) else None
    except ValueError:
        return None  # the loader's own check says so


def _known_numbers(inputs: dict) -> dict[str, float]:
    """Weight, reliability and window of an expert, as far as they are not made by other nodes."""
    values = {name: inputs.get(name) for name in Share().numbers}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _known_chain(node_id: str | None) -> list[_QueuedExpert]:
    """All experts of the chain wired to a node; none if some cannot be known, or act only in part.

    Raises:
        ValueError: If a number cannot be used.
    """
    node = _node(node_id)
    chain = (_chain(node) if node else None) or []
    numbers = [_known_numbers(inputs) for inputs in chain]
    known = all(len(of) == len(Share().numbers) for of in numbers)
    partial = any("mask" in inputs or inputs.get("start") != 0 or inputs.get("end") != 1 for inputs in chain)
    if partial or not known:
        return []
    experts = enumerate(zip(chain, numbers, strict=True), start=1)
    return [_QueuedExpert(place, not _lacks_null(inputs), **of) for place, (inputs, of) in experts]


def _chain(node: dict) -> list[dict] | None:
    """Inputs of all experts of a chain, the reference first; None if part of it is made by an unknown node."""
    found: list[dict] = []
    while "experts" in node["inputs"]:
        source = _linked(node, "experts")
        if source is None or source.get("class_type") != "MCDM_Expert" or source["inputs"] in found:
            return None
        found.insert(0, source["inputs"])
        node = source
    return found
