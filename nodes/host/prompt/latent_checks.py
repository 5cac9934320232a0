"""Refusals at POST /prompt of empty latents that haven't the size of the maps that experts read beside them.

Of other latents the run says the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import nodes

from ....mcdm_core.conditions import Encoder
from .faults import Fault
from .loaders import encoder_of
from .node_ids import EMPTY_LATENT
from .queued_chain import Name, experts_of
from .queued_prompt import QueuedNode

_BY_PIXELS = ("EmptyLatentImage", "EmptySD3LatentImage")  # ComfyUI's, whose samples are an eighth of their sizes


def check_latents(node: QueuedNode) -> Fault | None:
    """Whether the empty latents that a product starts from have the size of the maps in its conditions.

    Args:
        node: The node that combines the experts: a sampler, a guider, or Product as Model.
    """
    for sampler in (node, *node.users("guider"), *node.users("model")):
        source = sampler.source("latent_image")
        size = _size_of(source) if source is not None else None
        if source is None or size is None:
            continue
        for name, encoder in _encoders_of_maps(node, sampler):
            if size != (encoder.sample_size, encoder.sample_size):
                marked = "latent_image" if "latent_image" in node.inputs else "experts"
                return Fault(marked, _sentence(name, encoder, source, size))
    return None


def _size_of(source: QueuedNode) -> tuple[int, int] | None:
    """Width and height of the samples that a node makes; None if that can't be known."""
    if source.class_type == EMPTY_LATENT:
        encoder = encoder_of(source.source("encoder"))
        return None if encoder is None else (encoder.sample_size, encoder.sample_size)
    sides = source.numbers(("width", "height")) if source.class_type in _BY_PIXELS else {}
    return (int(sides["width"]) // 8, int(sides["height"]) // 8) if len(sides) == 2 else None


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
    divides = ", which divides its sizes by 8" if source.class_type in _BY_PIXELS and encoder.downscale == 1 else ""
    return (
        f"Expected a latent of {encoder.image_size}×{encoder.image_size} pixels, the size of the map of {expert.label},"
        f" and got one of {width}×{height} from {given}{divides}; connect Empty Latent (Expert), with the encoder "
        f"of {expert.label}."
    )
