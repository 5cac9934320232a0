"""What is refused at POST /prompt of experts and their conditions: what a whole prompt shows, before anything runs.

The checks look at a node's neighbours in the queued prompt. Where a value comes from a node of another pack nothing is
known, and the run itself checks again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ....mcdm_core.conditions import Encoder
from ....mcdm_core.product.term_settings import NUMBERS, TermSettings
from ..files.expert_folders import check_expert_file
from .encoder_trial import try_encoder
from .graph import NO_MODEL, read_graph
from .queued_prompt import encode_nodes, encoder_of, find_node, linked_node
from .validation import Fault, fault_of

_WINDOW = ("start", "end")
_LEVELS = ("sigma_start", "sigma_end")
_SCHEDULED = dict.fromkeys(_LEVELS, 0.0)  # what an expert without Expert Schedule has
KNOWN = tuple(name for name in NUMBERS if name != "weight_curve")
"""What of an expert's share is a number."""


def check_encoder(node_id: str, given: str) -> Fault | None:
    """Whether the encoder wired to an Encode … node reads what the node gives it.

    Args:
        node_id: The node's id in the prompt.
        given: See `try_encoder`.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    node = find_node(node_id)
    encoder = encoder_of(node, "encoder") if node else None
    if node is None or encoder is None:
        return None
    return try_encoder(encoder, given, node["inputs"]) or _check_made_for(encoder, node)


def check_expert(node_id: str) -> Fault | None:
    """Whether an expert's numbers, condition, null and pictures can be used.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    node = find_node(node_id)
    if node is None:
        return None
    if fault := _check_numbers(node["inputs"]):
        return fault
    expert = encoder_of(node, "model")
    if expert is None or expert.kind == "none":
        return None
    return _check_made_for(expert, node) or _check_pictures(expert, node)


def check_remote_expert(node_id: str) -> Fault | None:
    """As `check_expert`, of an expert on a worker; and whether its graph can be read, if it has one.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    inputs = (find_node(node_id) or {"inputs": {}})["inputs"]
    if "model" not in inputs:
        return Fault("model", NO_MODEL)
    text = inputs.get("graph") or ""
    if isinstance(text, str) and text.strip() and (fault := fault_of("graph", partial(read_graph, text))):
        return fault
    return check_expert(node_id)


def check_file(node_id: str) -> Fault | None:
    """Whether there is such an expert file, and it can be used, together with its VAE if it needs one."""
    return check_value(node_id, "expert_name", check_expert_file)


def check_value(node_id: str, name: str, read: Callable[[Any], object]) -> Fault | None:
    """Whether a value can be used; `read` raises ValueError if not.

    One that is linked is not known yet, and ComfyUI refuses one that is missing.
    """
    value = (find_node(node_id) or {"inputs": {}})["inputs"].get(name)
    return None if value is None or isinstance(value, list) else fault_of(name, partial(read, value))


def known_numbers(inputs: dict) -> dict[str, Any]:
    """Weight, reliability and windows of an expert, as far as they are not made by other nodes."""
    values = {name: inputs.get(name, _SCHEDULED.get(name)) for name in KNOWN}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _check_numbers(inputs: dict) -> Fault | None:
    known = known_numbers(inputs)
    alone = {name: {name: value} for name, value in known.items() if name not in (*_WINDOW, *_LEVELS)}
    window = {name: known[name] for name in _WINDOW if name in known}
    trials = [*alone.items(), ("end" if window.get("end", 1.0) < 1 else "start", window)]
    faults = [fault_of(name, partial(_check_share, numbers, "condition" in inputs)) for name, numbers in trials]
    return next(filter(None, faults), None)


def _check_share(numbers: dict[str, Any], has_condition: bool) -> None:
    share = TermSettings(**numbers)
    if "weight" in numbers:
        share.check_condition(has_condition)


def _check_made_for(expert: Encoder, node: dict) -> Fault | None:
    """Whether the condition and the null wired to a node were made for this expert."""
    for name in ("condition", "null"):
        source = linked_node(node, name)
        made_for = encoder_of(source, "encoder") if source else None
        if made_for and made_for.key != expert.key:
            other = expert.key.describe(made_for.key)
            return Fault(
                name,
                f"This expert is driven by {expert.driven_by} and its {name} was made for one driven by {other}; "
                "connect an Encode … (Expert) node that has this expert's encoder.",
            )
    return None


def _check_pictures(expert: Encoder, node: dict) -> Fault | None:
    """Whether the condition and the null hold the pictures that the expert works on."""
    needed = {
        "MCDM_EncodeLowRes": ("enlarges a small picture", "Encode Low Resolution", expert.low_res is not None),
        "MCDM_EncodeInpaint": ("fills in a picture", "Encode Inpainting (Expert)", expert.inpaint),
    }
    for name in ("condition", "null"):
        passed = encode_nodes(node, name)
        for class_type, (works, title, wanted) in needed.items():
            if passed and wanted and class_type not in passed:
                sentence = (
                    f"This expert {works} and its {name} has none; connect {title} between its Encode … node and it."
                )
                return Fault(name, sentence)
    return None
