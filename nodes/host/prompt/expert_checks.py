"""Refusals at POST /prompt of experts and their conditions, by the nodes that are linked in the queued prompt.

Of a value that comes from another pack's node nothing is known; the run itself checks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ....mcdm_core import Condition
from ....mcdm_core.conditions import Encoder
from ..chain.expert_chain import CONNECT_CONDITION
from ..chain.node_ids import ENCODE, ENCODE_INPAINT, ENCODE_LOW_RES
from ..files.conditioning import SWAPPED_ORDER, check_one_map
from ..files.reads import CONNECT_ENCODER, ENLARGES, FILLS_IN
from .faults import Fault, Trial, fault_of, first_fault
from .queued_chain import QueuedTerm, encoder_of, name_of
from .queued_prompt import QueuedNode
from .worker_graph import NO_MODEL, read_graph

_READ_MAPS = ("map", "maps", "face")  # kinds of encoders


def check_encoder(node: QueuedNode, given: str) -> Fault | None:
    """Whether the encoder wired to an Encode … node reads what the node gives it.

    Args:
        node: The Encode … node.
        given: "text", "class", "map", "sketch", "low resolution" or "inpainting".
    """
    encoder = encoder_of(node.source("encoder"))
    if encoder is None:
        return None
    return first_fault(_encoder_trials(encoder, given, node.inputs)) or _check_made_for(encoder, node)


def check_expert(node: QueuedNode) -> Fault | None:
    """Whether an expert's numbers, condition, null and pictures can be used; samplers check its products."""
    if fault := first_fault(_number_trials(node)):
        return fault
    encoder = encoder_of(node.source("model"))
    if encoder is None or encoder.kind == "none":
        return None
    return _check_made_for(encoder, node) or _check_pictures(encoder, node)


def check_remote_expert(node: QueuedNode) -> Fault | None:
    """As `check_expert`, of an expert on a worker; and whether its graph can be read, if it has one."""
    if "model" not in node.inputs:
        return Fault("model", NO_MODEL)
    text = node.inputs.get("graph") or ""
    if isinstance(text, str) and text.strip() and (fault := fault_of("graph", partial(read_graph, text))):
        return fault
    return check_expert(node)


def _number_trials(node: QueuedNode) -> Iterator[tuple[str, Trial]]:
    """Trials of an expert's numbers, and of a weight without a condition."""
    known, window = node.numbers(("weight", "reliability")), node.numbers(("start", "end"))
    for name, value in known.items():
        yield name, partial(_term, node, {name: value})
    if "weight" in known:
        has_condition = "condition" in node.inputs
        yield "condition", lambda: _term(node, known).check_condition(has_condition, CONNECT_CONDITION)
    yield ("end" if window.get("end", 1.0) < 1 else "start"), partial(_term, node, window)


def _term(node: QueuedNode, numbers: dict[str, Any]) -> QueuedTerm:
    return QueuedTerm(name=name_of(node.title), **numbers)


def _check_made_for(encoder: Encoder, node: QueuedNode) -> Fault | None:
    """Whether the condition and the null wired to a node were made for the expert with this encoder."""
    for name in ("condition", "null"):
        source = node.source(name)
        if source is None:
            continue
        made_for = encoder_of(source.source("encoder"))
        if made_for and made_for.key != encoder.key:
            other = encoder.key.describe(made_for.key)
            return Fault(
                name,
                f"This expert is driven by {encoder.driven_by} and its {node.label(name)} was made for one driven by "
                f"{other}; {CONNECT_ENCODER}.",
                cause=source.id,
            )
    return None


def _check_pictures(encoder: Encoder, node: QueuedNode) -> Fault | None:
    """Whether the condition and the null hold the pictures that the expert works on."""
    works_on = (ENCODE_LOW_RES, ENLARGES, encoder.low_res is not None), (ENCODE_INPAINT, FILLS_IN, encoder.inpaint)
    for name in ("condition", "null"):
        passed = _encode_nodes(node, name)
        for class_type, (works, remedy), wanted in works_on:
            if passed and wanted and class_type not in passed:
                return Fault(name, f"This expert {works} and its {node.label(name)} has none; {remedy}.")
    return None


def _encode_nodes(node: QueuedNode, name: str) -> list[str]:
    """The types of the Encode … nodes that a condition comes through; empty if it comes through any other node."""
    passed: dict[QueuedNode, None] = {}
    while link := node.link(name):
        source = node.source(name)
        if source is None or not source.class_type.startswith(ENCODE) or source in passed:
            return []
        passed[source] = None
        node, name = source, "null" if link[1] == 1 else "condition"
    return [source.class_type for source in passed]


def _encoder_trials(encoder: Encoder, given: str, inputs: dict[str, Any]) -> Iterator[tuple[str, Trial]]:
    """Trials of what an Encode … node will do with its encoder, on a made-up picture; each with the input at fault."""
    picture = torch.zeros(1, encoder.image_size, encoder.image_size)
    picture[..., encoder.image_size // 2 :] = 1.0  # maps that are black all over are warned of
    # A stand-in for the condition that an expert needs beside a picture; encoding a text takes too long here.
    beside = None if encoder.needs_more and "condition" not in inputs else Condition()
    match given:
        case "text":
            yield "encoder", encoder.check_text
        case "class":
            yield "encoder", lambda: encoder.encode_class(0)
            name = inputs.get("class_name")
            if isinstance(name, str):
                yield "class_name", lambda: encoder.encode_class(encoder.find_class(name))
        case "map":
            yield from _map_trials(encoder, picture, inputs)
        case "sketch":
            yield "encoder", lambda: encoder.encode_sketch(picture)
        case "low resolution":
            yield "encoder", lambda: encoder.encode_low_res(picture, beside)
        case "inpainting":
            yield "encoder", lambda: encoder.encode_inpaint(picture, picture, beside)


def _map_trials(encoder: Encoder, picture: Tensor, inputs: dict[str, Any]) -> Iterator[tuple[str, Trial]]:
    kind = inputs.get("map", "auto")
    if isinstance(kind, str):  # else made by another node, so that only the run knows
        yield ("map" if encoder.kind in _READ_MAPS else "encoder"), lambda: encoder.encode_map(picture, kind)
        if inputs.get("with_text") is True:
            yield "with_text", lambda: encoder.with_text(encoder.encode_map(picture, kind))
    if inputs.get("map_order") == SWAPPED_ORDER:
        yield "map_order", encoder.swapped
    yield "image", lambda: check_one_map(inputs.get("image"), inputs.get("mask"))
