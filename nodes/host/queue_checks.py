"""What is refused at POST /prompt: what a whole prompt shows, before anything runs.

The nodes' `validate_inputs` look at their neighbours in the queued prompt. Where a value comes from a node of another
pack nothing is known, and the run itself checks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...mcdm_core.conditions import Encoder
from ...mcdm_core.product.eq10 import EQ10
from ...mcdm_core.product.planner import Planner
from ...mcdm_core.product.rule import Rule
from ...mcdm_core.product.share import NUMBERS, Share
from ...mcdm_core.sampling.sweep import Sweep
from .encoder_trial import try_encoder
from .queued_prompt import chain_inputs, encode_nodes, encoder_of, find_node, last_before_loader, linked_node


def check_encoder(node_id: str | None, given: str) -> bool | str:
    """Whether the encoder wired to an Encode … node reads what the node gives it.

    Args:
        node_id: The node's id in the prompt.
        given: See `try_encoder`.

    Returns:
        True, also where it cannot be known; else the sentence for the user.
    """
    node = find_node(node_id)
    encoder = encoder_of(node, "encoder") if node else None
    if node is None or encoder is None:
        return True
    try:
        try_encoder(encoder, given, node["inputs"])
    except ValueError as error:
        return str(error)
    return _check_made_for(encoder, node)


def check_expert(node_id: str | None) -> bool | str:
    """Whether an expert's numbers, condition, null and pictures can be used.

    Returns:
        True, also where it cannot be known; else the sentence for the user.
    """
    node = find_node(node_id)
    if node is None:
        return True
    known = _known_numbers(node["inputs"])
    try:
        share = Share(**known)
        if "weight" in known:
            share.check_condition("condition" in node["inputs"])
    except ValueError as error:
        return str(error)
    expert = encoder_of(node, "model")
    if expert is None or expert.kind == "none":
        return True
    made_for = _check_made_for(expert, node)
    return _check_pictures(expert, node) if made_for is True else made_for


def _check_made_for(expert: Encoder, node: dict) -> bool | str:
    """Whether the condition and the null wired to a node were made for this expert."""
    for name in ("condition", "null"):
        source = linked_node(node, name)
        made_for = encoder_of(source, "encoder") if source else None
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
        passed = encode_nodes(node, name)
        for class_type, (works, title, wanted) in needed.items():
            if passed and wanted and class_type not in passed:
                return f"This expert {works} and its {name} has none; connect {title} between its Encode … node and it."
    return True


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
    node = find_node(node_id)
    whole = (chain_inputs(node) if node else None) or []
    try:
        chain = _known_chain(node_id)
        if whole:
            sweep.check_expert(len(whole))
        for cell in sweep.cells() if chain else ():
            if cell.seed == sweep.seeds[0]:  # seeds change no coefficients
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


def _known_numbers(inputs: dict) -> dict[str, float]:
    """Weight, reliability and window of an expert, as far as they are not made by other nodes."""
    values = {name: inputs.get(name) for name in NUMBERS}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _known_chain(node_id: str | None) -> list[_QueuedExpert]:
    """All experts of the chain wired to a node; none if some cannot be known, or act only in part.

    Raises:
        ValueError: If a number cannot be used.
    """
    node = find_node(node_id)
    chain = (chain_inputs(node) if node else None) or []
    numbers = [_known_numbers(inputs) for inputs in chain]
    known = all(len(of) == len(NUMBERS) for of in numbers)
    partial = any("mask" in inputs or inputs.get("start") != 0 or inputs.get("end") != 1 for inputs in chain)
    if partial or not known:
        return []
    experts = enumerate(zip(chain, numbers, strict=True), start=1)
    return [_QueuedExpert(place, not _lacks_null(inputs), **of) for place, (inputs, of) in experts]


def _lacks_null(expert: dict) -> bool:
    """Whether an expert certainly lacks a null: an unconditional one needs none, and of some nothing is known."""
    if "null" in expert:
        return False
    owner = last_before_loader({"inputs": expert})
    source = linked_node(owner, "model") or {}
    encoder = encoder_of(owner, "model")
    return source.get("class_type") == "CheckpointLoaderSimple" or (encoder is not None and encoder.kind != "none")
