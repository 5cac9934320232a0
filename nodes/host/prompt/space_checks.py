"""Refusals at POST /prompt of experts of several latent spaces: without the VAEs between these, or on workers.

Known are the spaces of this pack's experts, by their files; of others the run says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..chain.vaes_needed import vaes_needed
from ..files.expert_folders import key_of_vae_file, vae_key
from .queued_chain import WORKER_NODE, Name, chain_of, expert_file, loader_of, names_of, space_behind
from .queued_prompt import QueuedNode
from .validation import Fault

_REFERENCE_NODE = "MCDM_ProductModel"  # whose model is the first expert
_OF_CHECKPOINTS = ("CheckpointLoaderSimple", "UNETLoader")  # ComfyUI's, which load no latents of this pack's VAEs

_VAES = {
    ("MCDM_LoadExpert", 2): "expert_name",
    ("VAELoader", 0): "vae_name",
    ("CheckpointLoaderSimple", 2): "ckpt_name",
}
"""For outputs that are VAEs, by the type of their node and their number, the input that names the file."""


class _Vae(NamedTuple):
    """A VAE that is wired to an expert.

    Attributes:
        label: What messages call it.
        key: Its `encoder_key`; None if it was not trained here.
    """

    label: str
    key: str | None


Members = list[tuple[QueuedNode, str | None]]
"""The nodes of a product's experts, the reference's first, each with what it works on, if that is known."""


def check_space(node: QueuedNode) -> Fault | None:
    """Whether an expert of a product of several spaces lacks the VAE that it needs, has another, or is on a worker.

    Args:
        node: What samples the product, or makes it a MODEL.

    Returns:
        The fault, at the first expert that lacks something.
    """
    members = members_of(node)
    names = names_of([expert for expert, _ in members])
    return _check_vaes_given(members, names) or _check_own_vaes(members, names)


def _check_vaes_given(members: Members, names: Sequence[Name]) -> Fault | None:
    """Whether the spaces that are known lack a VAE, or an expert can't have one on a worker."""
    first: dict[str, int] = {}  # the first expert of each space that is known
    for place, (_, space) in enumerate(members):
        if space is not None:
            first.setdefault(space, place)
    if len(first) < 2:
        return None
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


def _check_own_vaes(members: Members, names: Sequence[Name]) -> Fault | None:
    """Whether an expert is given another VAE than its own, where VAEs are used: in one space none is."""
    ours = {expert: vae_key(file) for expert, space in members if space and (file := expert_file(loader_of(expert)))}
    checkpoints = [expert for expert, _ in members if _is_of_checkpoint(expert)]
    beside_latents = bool(checkpoints) and any(ours.values())
    if len({space for _, space in members if space}) < 2 and not beside_latents:
        return None
    keys = ours | dict.fromkeys(checkpoints)
    for name, (expert, _) in zip(names, members, strict=True):
        given = _vae_behind(expert)
        if expert in keys and given is not None and given.key != keys[expert]:
            source = "the vae output of its Load Diffusion Expert" if expert in ours else "the VAE of its checkpoint"
            sentence = f"{name.subject} needs the VAE of its own model and got {given.label}; connect {source}."
            return Fault("vae", sentence, expert.id)
    return None


def _is_of_checkpoint(expert: QueuedNode) -> bool:
    loader = loader_of(expert)
    return loader is not None and loader.class_type in _OF_CHECKPOINTS


def _vae_behind(expert: QueuedNode) -> _Vae | None:
    """The VAE that is wired to an expert; None if that can't be known."""
    link, source = expert.link("vae"), expert.source("vae")
    name = _VAES.get((source.class_type, link[1])) if link and source else None
    file = source.inputs.get(name) if source and name else None
    if not isinstance(file, str):
        return None
    try:
        if name == "vae_name":
            return _Vae(file, key_of_vae_file(file))
        return _Vae(f"that of {file}", vae_key(file) if name == "expert_name" else None)
    except ValueError:  # its loader says so
        return None


def members_of(end: QueuedNode) -> Members:
    """The experts of the product that a node samples or makes a MODEL; none if its chain is not known."""
    chain = chain_of(end)
    members = [*zip(chain.experts, chain.spaces, strict=True)]
    return [(end, space_behind(end)), *members] if end.class_type == _REFERENCE_NODE else members


def _away(name: Name, names: Sequence[Name], first: dict[str, int]) -> str:
    (one, at), (other, beside) = [*first.items()][:2]
    return (
        f"{name.subject} is on a worker, and there all experts have to be of one kind, but {names[at].label} works on "
        f"{one} and {names[beside].label} on {other}. Put {name.label} on this machine, or choose experts of one kind."
    )
