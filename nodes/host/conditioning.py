"""Conditions of this pack's experts as ComfyUI CONDITIONING."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from ...mcdm_core import Condition
from ...mcdm_core.conditions import Encoder
from .chain import Conditioning

CONDITION_KEY = "mcdm_condition"
KIND_KEY = "mcdm_kind"
POOLED_KEY = "pooled_output"  # ComfyUI's own

USUAL_ORDER, SWAPPED_ORDER = "face, hair", "hair, face"  # of the face network's maps


class NullKind(Enum):
    """What stands for no class; the published class models have no null of their own."""

    CLASS_0 = "class 0"
    """The first class, as in the paper's code; of the shipped experts it is the null they were trained with."""
    MEAN = "mean of all classes"
    """The mean of the classes' embeddings."""


def to_conditioning(condition: Condition, kind: str) -> Conditioning:
    """Wrap a condition for a CONDITIONING socket.

    Text tokens and their pooled embedding lie where those of ComfyUI's own text models do, so that ComfyUI's nodes that
    average or combine texts work on them. Other experts have no tokens; a small tensor takes their place, because those
    nodes must find one.

    Args:
        condition: What the network is told.
        kind: What drives the expert it was made for, `Encoder.driven_by`.
    """
    values = {CONDITION_KEY: condition, KIND_KEY: kind}
    if condition.context is None:
        return [[torch.zeros(1, 1, 1), values]]
    beside = replace(condition, context=None, embedding=None)
    return [[condition.context, {**values, CONDITION_KEY: beside, POOLED_KEY: condition.embedding}]]


def read_condition(values: Mapping[str, Any], tokens: Tensor | None) -> Condition | None:
    """The condition in an entry of a CONDITIONING, None if there is none of this pack's.

    Args:
        values: The entry's dictionary.
        tokens: The entry's tensor.
    """
    condition = values.get(CONDITION_KEY)
    if condition is None or POOLED_KEY not in values:
        return condition
    return replace(condition, context=tokens, embedding=values[POOLED_KEY])


def the_condition(encoder: Encoder, conditioning: Conditioning) -> Condition:
    """The condition of a CONDITIONING that one of the encoder's nodes made.

    Raises:
        ValueError: If it has several entries, or was made for another expert.
    """
    if len(conditioning) != 1:
        raise ValueError(
            f"Expected a condition of one entry and got {len(conditioning)}; combine conditions after this node."
        )
    ((tokens, values),) = conditioning
    return _checked(encoder, values, tokens)


def picture_conditions(
    encoder: Encoder,
    add_picture: Callable[[Condition | None], Condition],
    condition: Conditioning | None,
    null: Conditioning | None,
) -> tuple[Conditioning, Conditioning]:
    """A condition and a null with a picture in both, as CONDITIONING; areas, time ranges and the like stay in them.

    Args:
        encoder: The expert's encoder.
        add_picture: From what the expert is told to the same with the picture; it is given None for nothing.
        condition: What the expert is told beside the picture, None for nothing.
        null: What stands for nothing told, None for the encoder's null.

    Raises:
        ValueError: If the expert reads no such picture, or condition or null was made for another expert.
    """

    def with_picture(before: Conditioning) -> Conditioning:
        entries = []
        for tokens, values in before:
            told = add_picture(_checked(encoder, values, tokens))
            (new_tokens, new_values), *_ = to_conditioning(told, encoder.driven_by)
            entries.append([new_tokens, {**values, **new_values}])
        return entries

    alone = to_conditioning(add_picture(None), encoder.driven_by) if condition is None else with_picture(condition)
    return alone, with_picture(null or to_conditioning(encoder.null(), encoder.driven_by))


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
    null = encoder.null_like(condition)
    return to_conditioning(condition, encoder.driven_by), to_conditioning(null, encoder.driven_by)


def map_condition(encoder: Encoder, image: Tensor | None, mask: Tensor | None, kind: str, with_text: bool) -> Condition:
    """The condition of a segmentation map.

    Args:
        encoder: The expert's encoder.
        image: The map as IMAGE (B, H, W, C), or None.
        mask: The map as MASK (B, H, W), or None.
        kind: "auto", "face" or "hair".
        with_text: Whether it is to run beside rows that tell a text.

    Raises:
        ValueError: If not exactly one of image and mask is given, or the expert cannot use what is.
    """
    if (image is None) == (mask is None):
        raise ValueError(
            f"Expected either an image or a mask and got {'neither' if image is None else 'both'}; connect exactly one "
            "of them."
        )
    condition = encoder.encode_map(image if mask is None else mask, kind)
    return encoder.with_text(condition) if with_text else condition


def _checked(encoder: Encoder, values: Mapping[str, Any], tokens: Tensor | None) -> Condition:
    condition = read_condition(values, tokens)
    kind = values.get(KIND_KEY)
    if condition is None or kind != encoder.driven_by:
        found = f"one driven by {kind}" if condition is not None else "another kind of model"
        raise ValueError(
            f"Expected a condition of the same expert, which is driven by {encoder.driven_by}, and got one made for "
            f"{found}; encode it with this expert's encoder, or give it to an expert of its own."
        )
    return condition
