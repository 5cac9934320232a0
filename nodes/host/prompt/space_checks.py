"""Refusals at POST /prompt of latent spaces: without the VAEs between them, on workers, or latents of another size.

Known are the spaces of this pack's experts, by their files, and empty latents; of others the run says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import nodes

from ....mcdm_core.conditions import Encoder
from ..chain.node_ids import EMPTY_LATENT, LOAD_EXPERT
from ..files.expert_folders import key_of_vae_file, metadata_of
from ..spaces.refusals import check_vaes
from .faults import Fault
from .queued_chain import Name, QueuedExpert, encoder_of, expert_file, experts_of, fault_of_experts, queued_spaces
from .queued_prompt import QueuedNode

_OF_CHECKPOINTS = ("CheckpointLoaderSimple", "UNETLoader")  # ComfyUI's, which load no latents of this pack's VAEs
_BY_PIXELS = ("EmptyLatentImage", "EmptySD3LatentImage")  # ComfyUI's, whose sizes are of pictures, in eights

_VAES = {(LOAD_EXPERT, 2): "expert_name", ("VAELoader", 0): "vae_name", ("CheckpointLoaderSimple", 2): "ckpt_name"}
"""For outputs that are VAEs, by the type of their node and their number, the input that names the file."""


def check_space(node: QueuedNode) -> Fault | None:
    """Whether an expert of a product of several spaces lacks the VAE that it needs, has another, or is on a worker.

    Args:
        node: What samples the product, or makes it a MODEL.

    Returns:
        The fault, at the first expert that lacks something.
    """
    experts = experts_of(node)
    source = "the vae output of {} Load Diffusion Expert"
    check = partial(check_vaes, queued_spaces(experts), source, "choose experts of one kind")
    return fault_of_experts(experts, check) or _check_own_vaes(experts)


def _check_own_vaes(experts: Sequence[QueuedExpert]) -> Fault | None:
    """Whether an expert is given another VAE than its own, where VAEs are used: in one space none is."""
    keys = {
        expert: metadata_of(file).vae
        for expert in experts
        if expert.space is not None and (file := expert_file(expert.loader))
    }
    checkpoints = [each for each in experts if each.loader is not None and each.loader.class_type in _OF_CHECKPOINTS]
    beside_latents = bool(checkpoints) and any(keys.values())
    if len({expert.space for expert in keys}) < 2 and not beside_latents:
        return None
    keys |= dict.fromkeys(checkpoints)
    for expert in experts:
        label, key = _vae_behind(expert.node)
        if expert in keys and label is not None and key != keys[expert]:
            is_ours = expert not in checkpoints
            source = "the vae output of its Load Diffusion Expert" if is_ours else "the VAE of its checkpoint"
            sentence = f"{expert.name.subject} needs the VAE of its own model and got {label}; connect {source}."
            return Fault("vae", sentence, expert.node.id)
    return None


def _vae_behind(expert: QueuedNode) -> tuple[str | None, str | None]:
    """What messages call the VAE that is wired to an expert, and the `encoder_key` in its file.

    The first is None if the VAE can't be known, the second if it was not trained here.
    """
    link, source = expert.link("vae"), expert.source("vae")
    name = _VAES.get((source.class_type, link[1])) if link and source else None
    file = source.inputs.get(name) if source and name else None
    if not isinstance(file, str):
        return None, None
    try:
        if name == "vae_name":
            return file, key_of_vae_file(file)
        return f"that of {file}", metadata_of(file).vae if name == "expert_name" else None
    except ValueError:  # its loader says so
        return None, None


def check_latents(node: QueuedNode) -> Fault | None:
    """Whether the empty latents that a product starts from have the size of the maps in its conditions.

    Args:
        node: The node that combines the experts: a sampler, a guider, or Product as Model.
    """
    for sampler in (node, *node.users("guider"), *node.users("model")):
        source = sampler.source("latent_image")
        if source is None:
            continue
        for name, encoder in _encoders_of_maps(node, sampler):
            size = _size_of(source, encoder.downscale)
            if size is not None and size != (encoder.sample_size, encoder.sample_size):
                marked = "latent_image" if "latent_image" in node.inputs else "experts"
                return Fault(marked, _sentence(name, encoder, source, size))
    return None


def _size_of(source: QueuedNode, downscale: int) -> tuple[int, int] | None:
    """Width and height of a node's samples, for experts that shrink pictures so much; None if that isn't known."""
    if source.class_type == EMPTY_LATENT:
        encoder = encoder_of(source.source("encoder"))
        return None if encoder is None else (encoder.sample_size, encoder.sample_size)
    sides = source.numbers(("width", "height")) if source.class_type in _BY_PIXELS else {}
    if len(sides) < 2:
        return None
    width, height = (int(sides[side]) // 8 * 8 // downscale for side in ("width", "height"))
    return width, height


def _encoders_of_maps(node: QueuedNode, sampler: QueuedNode) -> Iterator[tuple[Name, Encoder]]:
    """The encoders of the maps that experts of the reference's space are given, each with its expert's name."""
    experts = experts_of(node)
    for expert in experts:
        if expert.space is None or expert.space != experts[0].space:
            continue  # samples of another space have a size of their own
        is_reference_of_model = expert.node is node
        for given in ("positive", "negative") if is_reference_of_model else ("condition", "null"):
            source = (sampler if is_reference_of_model else expert.node).source(given)
            encoder = encoder_of(source.source("encoder")) if source is not None else None
            if encoder is not None and encoder.reads_maps:
                yield expert.name, encoder


def _sentence(expert: Name, encoder: Encoder, source: QueuedNode, size: tuple[int, int]) -> str:
    width, height = (encoder.downscale * side for side in size)
    given = nodes.NODE_DISPLAY_NAME_MAPPINGS.get(source.class_type, source.class_type)
    return (
        f"Expected a latent of {encoder.image_size}×{encoder.image_size} pixels, the size of the map of {expert.label},"
        f" and got one of {width}×{height} from {given}; connect Empty Latent (Expert), with the encoder "
        f"of {expert.label}."
    )
