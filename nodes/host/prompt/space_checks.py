"""Refusals at POST /prompt of experts of several latent spaces that lack the VAEs between these, or are on workers.

Known are the spaces of this pack's experts, by their files; of others the run says the same.
"""

from __future__ import annotations

from ..chain.vaes_needed import vaes_needed
from .queued_chain import WORKER_NODE, Name, chain_of, names_of, space_behind
from .queued_prompt import QueuedNode
from .validation import Fault

_REFERENCE_NODE = "MCDM_ProductModel"  # whose model is the first expert

Members = list[tuple[QueuedNode, str | None]]
"""The nodes of a product's experts, the reference's first, each with what it works on, if that is known."""


def check_space(node: QueuedNode) -> Fault | None:
    """Whether an expert lacks the VAE that a product of several spaces needs of it, or can't be in it on a worker.

    Args:
        node: What samples the product, or makes it a MODEL.

    Returns:
        The fault, at the first expert that lacks something.
    """
    members = members_of(node)
    first: dict[str, int] = {}  # the first expert of each space that is known
    for place, (_, space) in enumerate(members):
        if space is not None:
            first.setdefault(space, place)
    if len(first) < 2:
        return None
    names = names_of([expert for expert, _ in members])
    for name, (expert, _) in zip(names, members, strict=True):
        if expert.class_type == WORKER_NODE:
            return Fault("model", _away(name, names, first), expert.id)
    having = {space for expert, space in members if "vae" in expert.inputs}
    lacking = [place for place, space in enumerate(first) if space not in having]
    if None in having or not lacking:  # a VAE of whichever space
        return None
    firsts = [(names[place], space) for space, place in first.items()]
    source = "the vae output of {} Load Diffusion Expert"
    sentence = vaes_needed(firsts, lacking, source, "choose experts of one kind")
    return Fault("vae", sentence, members[[*first.values()][lacking[0]]][0].id)


def members_of(end: QueuedNode) -> Members:
    """The experts of the product that a node samples or makes a MODEL; none if its chain is not known."""
    chain = chain_of(end)
    members = [*zip(chain.experts, chain.spaces, strict=True)]
    return [(end, space_behind(end)), *members] if end.class_type == _REFERENCE_NODE else members


def _away(name: Name, names: list[Name], first: dict[str, int]) -> str:
    (one, at), (other, beside) = [*first.items()][:2]
    return (
        f"{name.subject} is on a worker, and there all experts have to be of one kind, but {names[at].label} works on "
        f"{one} and {names[beside].label} on {other}. Put {name.label} on this machine, or choose experts of one kind."
    )
