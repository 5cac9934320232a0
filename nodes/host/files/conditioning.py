"""Conditions of this pack's experts as ComfyUI CONDITIONING."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from ....mcdm_core import Condition
from ....mcdm_core.conditions import ClassEncoder, Encoder, EncoderKey
from ..chain.expert_chain import Conditioning

CONDITION_KEY = "mcdm_condition"
MADE_FOR = "mcdm_made_for"
POOLED_KEY = "pooled_output"  # ComfyUI's own
OUTSIDE_KEY = "mcdm_outside"  # fields of the condition that are stored in ComfyUI's own places

USUAL_ORDER, SWAPPED_ORDER = "face, hair", "hair, face"  # of the face network's maps


class NullKind(Enum):
    """The null of a class expert; the published class models have none of their own."""

    CLASS_0 = "class 0"
    """The first class, as in the paper's code; the shipped experts were trained with it as their null."""
    MEAN = "mean of all classes"
    """The mean of the classes' embeddings."""


def to_conditioning(condition: Condition, made_for: EncoderKey) -> Conditioning:
    """Wrap a condition for a CONDITIONING socket.

    Text tokens and embeddings are stored where ComfyUI's own text models have them, so that ComfyUI's nodes that
    average or combine texts work on them. These nodes need tokens: a condition without any gets a small tensor of
    zeros.

    Args:
        condition: The condition.
        made_for: Key of the encoder that made it; stored in every entry, to tell the entries of combined conditionings
            apart.
    """
    outside = tuple(name for name in ("context", "embedding") if name in condition.tensors())
    values: dict[str, Any] = {
        CONDITION_KEY: replace(condition, context=None, embedding=None),
        MADE_FOR: made_for,
        OUTSIDE_KEY: outside,
    }
    if condition.embedding is not None:
        values[POOLED_KEY] = condition.embedding
    return [[torch.zeros(1, 1, 1) if condition.context is None else condition.context, values]]


def read_condition(values: Mapping[str, Any], tokens: Tensor | None) -> Condition | None:
    """The condition in an entry of a CONDITIONING; None if it isn't one of this pack's.

    Args:
        values: The entry's dictionary.
        tokens: The entry's tensor.

    Raises:
        ValueError: If another node has removed the tokens or the embedding from ComfyUI's own places.
    """
    condition = values.get(CONDITION_KEY)
    if condition is None:
        return None
    stored: dict[str, Any] = {"context": tokens, "embedding": values.get(POOLED_KEY)}
    outside = {name: stored[name] for name in values.get(OUTSIDE_KEY, ())}
    if any(value is None for value in outside.values()):
        raise ValueError(
            "Expected a conditioning as its Encode … node made it and got one without its embedding, which another "
            "node has removed; leave that node out."
        )
    return replace(condition, **outside)


def change(encoder: Encoder, conditioning: Conditioning, to: Callable[[Condition], Condition]) -> Conditioning:
    """A CONDITIONING with other conditions; areas, masks, time ranges and the like stay in it.

    Args:
        encoder: The expert's encoder.
        conditioning: A CONDITIONING that one of its nodes made.
        to: Maps each condition in it to its replacement.

    Raises:
        ValueError: If the conditioning was made for another expert.
    """
    changed = []
    for tokens, values in conditioning:
        ((new_tokens, new_values),) = to_conditioning(to(_condition_for(encoder, values, tokens)), encoder.key)
        changed.append([new_tokens, {**values, **new_values}])
    return changed


def picture_conditions(
    encoder: Encoder,
    add_picture: Callable[[Condition | None], Condition],
    condition: Conditioning | None,
    null: Conditioning | None,
) -> tuple[Conditioning, Conditioning]:
    """A condition and a null, both with a picture, as CONDITIONING; areas, time ranges and the like stay in them.

    Args:
        encoder: The expert's encoder.
        add_picture: Adds the picture to a condition; None stands for no condition.
        condition: The condition beside the picture, or None.
        null: The null, or None for the encoder's.

    Raises:
        ValueError: If the expert reads no such picture, or condition or null was made for another expert.
    """
    given = null or to_conditioning(encoder.null(), encoder.key)
    if condition is None:
        conditioned = to_conditioning(add_picture(None), encoder.key)
    else:
        conditioned = change(encoder, condition, add_picture)
    return conditioned, change(encoder, given, add_picture)


def class_and_null(encoder: Encoder, name: str, null_kind: NullKind) -> tuple[Conditioning, Conditioning]:
    """A class and its null as CONDITIONING.

    Args:
        encoder: The expert's encoder.
        name: Name of the class, or its index.
        null_kind: Kind of the null.

    Raises:
        ValueError: If the expert is not driven by classes, or has none of this name.
    """
    condition = encoder.encode_class(encoder.find_class(name))
    # All other kinds of encoders have raised above.
    mean = cast(ClassEncoder, encoder).mean_null() if null_kind is NullKind.MEAN else None
    return condition_and_null(encoder, condition, mean)


def condition_and_null(
    encoder: Encoder, condition: Condition, null: Condition | None = None
) -> tuple[Conditioning, Conditioning]:
    """A condition and its null as CONDITIONING; None means a null with the same fields and rows, fit for one batch."""
    null = encoder.null_like(condition) if null is None else null
    return to_conditioning(condition, encoder.key), to_conditioning(null, encoder.key)


def merge_into(encoder: Encoder, conditioning: Conditioning, condition: Condition) -> tuple[Conditioning, Conditioning]:
    """A CONDITIONING with another condition of the same expert merged into each entry, and one null for all.

    Raises:
        ValueError: If the conditioning was made for another expert, or the two cannot be merged.
    """
    merged = change(encoder, conditioning, lambda before: encoder.merge(condition, before))
    entries = [_condition_for(encoder, values, tokens) for tokens, values in merged]
    if len({entry.text_active for entry in entries}) > 1:
        raise ValueError(
            "Expected with_text on in all entries of positive or in none, since they share a negative, and got both; "
            "switch it on where their maps are encoded."
        )
    return merged, to_conditioning(encoder.null_like(entries[0]), encoder.key)


def sketch_picture(encoder: Encoder, condition: Condition) -> Tensor:
    """The sketch as an expert sees it, as IMAGE (B, H, W, 3), white lines on black."""
    lines = F.pixel_shuffle(condition.tensors()["maps"], encoder.downscale).amax(dim=1)
    drawn = (lines - encoder.background) / (1 - encoder.background)
    return repeat(drawn, "b h w -> b h w 3")


def check_one_map(image: Any, mask: Any) -> Any:
    """The one of an image and a mask that is given.

    Raises:
        ValueError: If both are given, or neither is.
    """
    given = [picture for picture in (image, mask) if picture is not None]
    if len(given) != 1:
        raise ValueError(
            f"Expected either an image or a mask and got {'both' if given else 'neither'}; connect exactly one of them."
        )
    return given[0]


def _condition_for(encoder: Encoder, values: Mapping[str, Any], tokens: Tensor | None) -> Condition:
    condition = read_condition(values, tokens)
    made_for = values.get(MADE_FOR)
    if condition is not None and made_for == encoder.key:
        return condition
    given = "one of another kind of model"
    if condition is not None and made_for is not None:
        given = f"one for an expert driven by {encoder.key.describe(made_for)}"
    raise ValueError(
        f"Expected a prompt of the same expert, which is driven by {encoder.driven_by}, and got {given}; encode it "
        "with this expert's encoder, or give it to an expert of its own."
    )
