"""Conditions of this pack's experts as ComfyUI CONDITIONING."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, cast

import torch
from einops import repeat
from torch import Tensor

from ....mcdm_core import Condition
from ....mcdm_core.conditions import ClassEncoder, Encoder, EncoderKey
from ....mcdm_core.conditions.reading.folding import unfold
from ..chain.expert_chain import Conditioning

CONDITION_KEY = "mcdm_condition"
MADE_FOR = "mcdm_made_for"
POOLED_KEY = "pooled_output"  # ComfyUI's own
OUTSIDE_KEY = "mcdm_outside"  # the fields of the condition that lie in ComfyUI's own places

USUAL_ORDER, SWAPPED_ORDER = "face, hair", "hair, face"  # of the face network's maps


class NullKind(Enum):
    """What stands for no class; the published class models have no null of their own."""

    CLASS_0 = "class 0"
    """The first class, as in the paper's code; of the shipped experts it is the null they were trained with."""
    MEAN = "mean of all classes"
    """The mean of the classes' embeddings."""


def to_conditioning(condition: Condition, made_for: EncoderKey) -> Conditioning:
    """Wrap a condition for a CONDITIONING socket.

    Text tokens and embeddings lie where those of ComfyUI's own text models do, so that ComfyUI's nodes that average or
    combine texts work on them. Those nodes must find tokens, so that a small tensor takes their place elsewhere.

    Args:
        condition: What the network is told.
        made_for: Key of the encoder that made it; in every entry, so that combined conditionings stay told apart.
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
    """The condition in an entry of a CONDITIONING, None if there is none of this pack's.

    Args:
        values: The entry's dictionary.
        tokens: The entry's tensor.

    Raises:
        ValueError: If another node has taken away what lay in ComfyUI's own places.
    """
    condition = values.get(CONDITION_KEY)
    if condition is None:
        return None
    places: dict[str, Any] = {"context": tokens, "embedding": values.get(POOLED_KEY)}
    outside = {name: places[name] for name in values.get(OUTSIDE_KEY, ())}
    if any(value is None for value in outside.values()):
        raise ValueError(
            "Expected a condition as its Encode … node made it and got one without its embedding, which another node "
            "has removed; leave that node out."
        )
    return replace(condition, **outside)


def change(encoder: Encoder, conditioning: Conditioning, to: Callable[[Condition], Condition]) -> Conditioning:
    """A CONDITIONING that says something else; areas, masks, time ranges and the like stay in it.

    Args:
        encoder: The expert's encoder.
        conditioning: Made by one of its nodes.
        to: From each condition in it to the one that takes its place.

    Raises:
        ValueError: If the conditioning was made for another expert.
    """
    changed = []
    for tokens, values in conditioning:
        ((new_tokens, new_values),) = to_conditioning(to(_own(encoder, values, tokens)), encoder.key)
        changed.append([new_tokens, {**values, **new_values}])
    return changed


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
    given = null or to_conditioning(encoder.null(), encoder.key)
    if condition is None:
        told = to_conditioning(add_picture(None), encoder.key)
    else:
        told = change(encoder, condition, add_picture)
    return told, change(encoder, given, add_picture)


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
    # Encoders of all other kinds have refused the class.
    mean = cast(ClassEncoder, encoder).mean_null() if null_kind is NullKind.MEAN else None
    return condition_and_null(encoder, condition, mean)


def condition_and_null(
    encoder: Encoder, condition: Condition, null: Condition | None = None
) -> tuple[Conditioning, Conditioning]:
    """A condition and its null as CONDITIONING; None for the one with the same fields and rows, fit for one batch."""
    null = encoder.null_like(condition) if null is None else null
    return to_conditioning(condition, encoder.key), to_conditioning(null, encoder.key)


def merge_into(encoder: Encoder, conditioning: Conditioning, condition: Condition) -> tuple[Conditioning, Conditioning]:
    """A CONDITIONING with a further condition of the same expert in each entry, and the null of all.

    Raises:
        ValueError: If the conditioning was made for another expert, or the two cannot be merged.
    """
    merged = change(encoder, conditioning, lambda before: encoder.merge(condition, before))
    entries = [_own(encoder, values, tokens) for tokens, values in merged]
    if len({entry.text_active for entry in entries}) > 1:
        raise ValueError(
            "Expected entries that all run beside a text or none of which does, and got both, which have different "
            "nulls; switch with_text on where their maps are encoded."
        )
    return merged, to_conditioning(encoder.null_like(entries[0]), encoder.key)


def sketch_picture(encoder: Encoder, condition: Condition) -> Tensor:
    """What an expert sees of a sketch as IMAGE (B, H, W, 3), white lines on black."""
    told = unfold(condition.tensors()["maps"], encoder.downscale).amax(dim=1)
    drawn = (told - encoder.background) / (1 - encoder.background)
    return repeat(drawn, "b h w -> b h w 3")


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
    condition = encoder.encode_map(check_one_map(image, mask), kind)
    return encoder.with_text(condition) if with_text else condition


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


def _own(encoder: Encoder, values: Mapping[str, Any], tokens: Tensor | None) -> Condition:
    condition = read_condition(values, tokens)
    made_for = values.get(MADE_FOR)
    if condition is not None and made_for == encoder.key:
        return condition
    found = "one of another kind of model"
    if condition is not None and made_for is not None:
        found = f"one for an expert driven by {encoder.key.describe(made_for)}"
    raise ValueError(
        f"Expected a condition of the same expert, which is driven by {encoder.driven_by}, and got {found}; encode it "
        "with this expert's encoder, or give it to an expert of its own."
    )
