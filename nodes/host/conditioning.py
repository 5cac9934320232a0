"""Conditions of this pack's experts as ComfyUI CONDITIONING."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import torch
from torch import Tensor

from ...mcdm_core import Condition
from ...mcdm_core.conditions import Encoder
from .chain import Conditioning

CONDITION_KEY = "mcdm_condition"
KIND_KEY = "mcdm_kind"


class NullKind(Enum):
    """What stands for no class; the published class models have no null of their own."""

    CLASS_0 = "class 0"
    """The first class, as in the paper's code; of the shipped experts it is the null they were trained with."""
    MEAN = "mean of all classes"
    """The mean of the classes' embeddings."""


def to_conditioning(condition: Condition, kind: str) -> Conditioning:
    """Wrap a condition for a CONDITIONING socket.

    Args:
        condition: What the network is told.
        kind: What drives the expert it was made for, `Encoder.driven_by`.
    """
    # The first element is where text models keep their tokens. Nodes that look at it must find a tensor; pixel experts
    # don't read it.
    return [[torch.zeros(1, 1, 1), {CONDITION_KEY: condition, KIND_KEY: kind}]]


def class_and_null(encoder: Encoder, name: str, null_kind: NullKind) -> tuple[Conditioning, Conditioning]:
    """A class and what stands for no class, as CONDITIONING.

    Args:
        encoder: The expert's encoder.
        name: Name of the class, or its index.
        null_kind: What stands for no class.

    Raises:
        ValueError: If the expert is not driven by classes, or has none of this name.
    """
    condition = encoder.encode_class(encoder.find_class(name))
    null = encoder.mean_null() if null_kind is NullKind.MEAN else encoder.null()
    return to_conditioning(condition, encoder.driven_by), to_conditioning(null, encoder.driven_by)


def condition_and_null(encoder: Encoder, condition: Condition) -> tuple[Conditioning, Conditioning]:
    """A condition and its null as CONDITIONING, with the same fields and rows so that both run in one batch."""
    null = replace(encoder.null(condition.rows or 1), text_active=condition.text_active)
    return to_conditioning(condition, encoder.driven_by), to_conditioning(null, encoder.driven_by)


def map_condition(
    encoder: Encoder,
    image: Tensor | None,
    mask: Tensor | None,
    kind: str,
    with_text: bool,
    merged: Conditioning | None,
) -> Condition:
    """The condition of a segmentation map.

    Args:
        encoder: The expert's encoder.
        image: The map as IMAGE (B, H, W, C), or None.
        mask: The map as MASK (B, H, W), or None.
        kind: "auto", "face" or "hair".
        with_text: Whether a text belongs to it.
        merged: A condition of the same expert to merge with, or None.

    Raises:
        ValueError: If not exactly one of image and mask is given, or the expert cannot use what is.
    """
    if (image is None) == (mask is None):
        raise ValueError(
            f"Expected either an image or a mask and got {'neither' if image is None else 'both'}; connect exactly one "
            "of them."
        )
    if with_text:
        raise ValueError(
            f"This expert is driven by {encoder.driven_by} and reads no text beside it; switch with_text off, or add a "
            "text expert."
        )
    condition = encoder.encode_map(image if mask is None else mask, kind)
    return condition if merged is None else _merge(encoder, condition, merged)


def _merge(encoder: Encoder, condition: Condition, merged: Conditioning) -> Condition:
    """Both maps in one condition; experts that read several have a channel for each, black where absent."""
    values = merged[0][1] if len(merged) == 1 else {}
    if encoder.kind != "maps" or values.get(KIND_KEY) != encoder.driven_by:
        raise ValueError(
            "Expected a condition of the same expert, one that reads several maps, and this one is driven by "
            f"{encoder.driven_by}; disconnect `condition` and give each condition to an expert of its own."
        )
    other = values[CONDITION_KEY].to(condition.maps.device, condition.maps.dtype)
    rows = max(condition.rows, other.rows)
    return replace(condition, maps=torch.maximum(condition.expand(rows).maps, other.expand(rows).maps))
