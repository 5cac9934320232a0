"""Refusals at POST /prompt of experts of several latent spaces: without the VAEs between these, or on workers.

Known are the spaces of this pack's experts, by their files; of others the run says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from ..files.expert_folders import key_of_vae_file, vae_key
from ..spaces.checks import check_vaes
from .faults import Fault, fault_of_experts
from .loaders import expert_file
from .node_ids import LOAD_EXPERT
from .queued_chain import QueuedExpert, experts_of, in_spaces
from .queued_prompt import QueuedNode

_OF_CHECKPOINTS = ("CheckpointLoaderSimple", "UNETLoader")  # ComfyUI's, which load no latents of this pack's VAEs

_VAES = {(LOAD_EXPERT, 2): "expert_name", ("VAELoader", 0): "vae_name", ("CheckpointLoaderSimple", 2): "ckpt_name"}
"""For outputs that are VAEs, by the type of their node and their number, the input that names the file."""


class _Vae(NamedTuple):
    """A VAE that is wired to an expert.

    Attributes:
        label: What messages call it.
        key: The `encoder_key` in its file; None if it was not trained here.
    """

    label: str
    key: str | None


def check_space(node: QueuedNode) -> Fault | None:
    """Whether an expert of a product of several spaces lacks the VAE that it needs, has another, or is on a worker.

    Args:
        node: What samples the product, or makes it a MODEL.

    Returns:
        The fault, at the first expert that lacks something.
    """
    experts = experts_of(node)
    source = "the vae output of {} Load Diffusion Expert"
    check = partial(check_vaes, in_spaces(experts), source, "choose experts of one kind")
    return fault_of_experts(experts, check) or _check_own_vaes(experts)


def _check_own_vaes(experts: Sequence[QueuedExpert]) -> Fault | None:
    """Whether an expert is given another VAE than its own, where VAEs are used: in one space none is."""
    keys = {
        expert: vae_key(file) for expert in experts if expert.space is not None and (file := expert_file(expert.loader))
    }
    checkpoints = [each for each in experts if each.loader is not None and each.loader.class_type in _OF_CHECKPOINTS]
    beside_latents = bool(checkpoints) and any(keys.values())
    if len({expert.space for expert in keys}) < 2 and not beside_latents:
        return None
    keys |= dict.fromkeys(checkpoints)
    for expert in experts:
        given = _vae_behind(expert.node)
        if expert in keys and given is not None and given.key != keys[expert]:
            is_ours = expert not in checkpoints
            source = "the vae output of its Load Diffusion Expert" if is_ours else "the VAE of its checkpoint"
            sentence = f"{expert.name.subject} needs the VAE of its own model and got {given.label}; connect {source}."
            return Fault("vae", sentence, expert.node.id)
    return None


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
