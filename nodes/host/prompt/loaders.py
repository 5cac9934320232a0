"""What is behind a link to a MODEL or an encoder: the nodes that it comes through, and the expert file they load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....mcdm_core.conditions import Encoder
from ..chain.node_ids import LOAD_EXPERT
from ..files.expert_folders import inspect_expert, metadata_of
from .queued_prompt import QueuedNode


def models_behind(node: QueuedNode) -> list[QueuedNode]:
    """The nodes that a node's MODEL comes through, such as LoRAs and patches, its loader last; empty if unknown."""
    passed: dict[QueuedNode, None] = {}
    while (source := node.source("model")) is not None and source not in passed:
        passed[source] = None
        node = source
    return [*passed] if "model" not in node.inputs else []


def expert_file(loader: QueuedNode | None) -> str | None:
    """The file that Load Diffusion Expert loads; None if it isn't that node."""
    name = loader.inputs.get("expert_name") if loader is not None and loader.class_type == LOAD_EXPERT else None
    return name if isinstance(name, str) else None


def encoder_of(loader: QueuedNode | None) -> Encoder | None:
    """The encoder of the file that Load Diffusion Expert loads; None if it isn't that node."""
    return _unless_refused(inspect_expert, expert_file(loader))


def space_of(loader: QueuedNode | None) -> str | None:
    """What messages call the latent space of the expert that a node loads; None unless it is one of this pack."""
    metadata = _unless_refused(metadata_of, expert_file(loader))
    if metadata is None:
        return None
    pictures = f"pictures of {metadata.image_size}×{metadata.image_size} pixels"
    return pictures if metadata.vae is None else f"latents of the VAE {metadata.vae}"


def _unless_refused(read: Callable[[str], Any], file: str | None) -> Any:
    """The result of reading an expert's file; None if the file is unknown, or unusable, which its loader refuses."""
    try:
        return read(file) if file is not None else None
    except ValueError:
        return None
