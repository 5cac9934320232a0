"""Refusals at POST /prompt of experts of several latent spaces that lack the VAEs between these, or are on workers.

Known are the spaces of this pack's experts, by their files; of others the run says the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from .queued_chain import WORKER_NODE, chain_of, space_behind
from .queued_prompt import QueuedNode, QueuedPrompt, once_a_prompt
from .validation import Fault

_REFERENCE_NODE = "MCDM_ProductModel"  # whose model is the first expert
_PRODUCT_NODES = (
    "MCDM_Guider",
    "MCDM_OwnNullGuider",
    "MCDM_KSampler",
    "MCDM_Inspect",
    "MCDM_ReliabilitySweep",
    _REFERENCE_NODE,
)

Members = list[tuple[QueuedNode, str | None]]
"""The nodes of a product's experts, the reference's first, each with what it works on, if that is known."""


def check_space(node: QueuedNode) -> Fault | None:
    """Whether an expert lacks the VAE that a product of several spaces needs of it, or can't be in it on a worker.

    The mistake is the expert's, where it is mended, and not the node's that samples the product.

    Args:
        node: Diffusion Expert, on a worker or not, or Product as Model.
    """
    return once_a_prompt("faults of spaces", lambda: _faults_in(node.prompt)).get(node.id)


def _faults_in(prompt: QueuedPrompt) -> dict[str, Fault]:
    """What is wrong with the experts of all products of a prompt, by the ids of their nodes."""
    found: dict[str, Fault] = {}
    for end in (end for class_type in _PRODUCT_NODES for end in prompt.needed.get(class_type, [])):
        for node, fault in _faults_among(members_of(end)):
            found.setdefault(node.id, fault)
    return found


def members_of(end: QueuedNode) -> Members:
    """The experts of the product that a node samples or makes a MODEL; none if its chain is not known."""
    chain = chain_of(end)
    members = [*zip(chain.experts, chain.spaces, strict=True)]
    return [(end, space_behind(end)), *members] if end.class_type == _REFERENCE_NODE else members


def _faults_among(members: Members) -> Iterator[tuple[QueuedNode, Fault]]:
    """What is wrong with the experts of a product; a space takes the VAE of any of its experts."""
    first: dict[str, int] = {}  # the first expert of each space that is known
    for place, (_, space) in enumerate(members):
        if space is not None:
            first.setdefault(space, place)
    if len(first) < 2:
        return
    for place, (node, _) in enumerate(members):
        if node.class_type == WORKER_NODE:
            yield node, Fault("model", _away(place, first))
    having = {space for node, space in members if "vae" in node.inputs}
    if None in having:
        return  # a VAE of whichever space
    for space, place in first.items():
        if space not in having:
            yield members[place][0], Fault("vae", _lacking(space, first))


def _away(place: int, first: dict[str, int]) -> str:
    (one, at), (other, beside) = [*first.items()][:2]
    return (
        f"Expected experts of one latent space where some are on workers, but expert {at + 1} works on {one} and "
        f"expert {beside + 1} on {other}; put expert {place + 1} on this machine, or choose experts of one kind."
    )


def _lacking(space: str, first: dict[str, int]) -> str:
    place, (other, beside) = first[space], next(pair for pair in first.items() if pair[0] != space)
    return (
        f"Expected a VAE for expert {place + 1}, because it works on {space} and expert {beside + 1} on {other}, and "
        "got none; connect the vae of its Load Diffusion Expert to the vae of this node, or choose experts of one kind."
    )
