"""Refusals at POST /prompt of Encode … nodes: what they will do is tried, on a made-up picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ....mcdm_core import Condition
from ....mcdm_core.conditions import Encoder
from ..files.conditioning import SWAPPED_ORDER, check_one_map
from .faults import Fault, Trial, first_fault

Inputs = Mapping[str, Any]
Trials = Iterator[tuple[str, Trial]]
"""Names of the node's inputs, each with a trial."""

_READ_MAPS = ("map", "maps", "face")  # kinds of encoders


def try_encoder(encoder: Encoder, given: str, inputs: Inputs) -> Fault | None:
    """Find an input that the encoder's expert cannot use.

    Args:
        encoder: The expert's encoder.
        given: "text", "class", "map", "sketch", "low resolution" or "inpainting".
        inputs: The node's inputs as a prompt has them: widget values, and links for what other nodes make.

    Returns:
        The fault, if the expert does not read what is given, or not this value of it.
    """
    picture = torch.zeros(1, encoder.image_size, encoder.image_size)
    picture[..., encoder.image_size // 2 :] = 1.0  # maps that are black all over are warned of
    return first_fault(_TRIALS[given](encoder, picture, inputs))


def _try_text(encoder: Encoder, picture: Tensor, inputs: Inputs) -> Trials:
    yield "encoder", encoder.check_text


def _try_class(encoder: Encoder, picture: Tensor, inputs: Inputs) -> Trials:
    yield "encoder", lambda: encoder.encode_class(0)
    name = inputs.get("class_name")
    if isinstance(name, str):
        yield "class_name", lambda: encoder.encode_class(encoder.find_class(name))


def _try_map(encoder: Encoder, picture: Tensor, inputs: Inputs) -> Trials:
    kind = inputs.get("map", "auto")
    if isinstance(kind, str):  # else made by another node, so that only the run knows
        yield ("map" if encoder.kind in _READ_MAPS else "encoder"), lambda: encoder.encode_map(picture, kind)
        if inputs.get("with_text") is True:
            yield "with_text", lambda: encoder.with_text(encoder.encode_map(picture, kind))
    if inputs.get("map_order") == SWAPPED_ORDER:
        yield "map_order", encoder.swapped
    yield "image", lambda: check_one_map(inputs.get("image"), inputs.get("mask"))


def _try_sketch(encoder: Encoder, picture: Tensor, inputs: Inputs) -> Trials:
    yield "encoder", lambda: encoder.encode_sketch(picture)


def _try_low_res(encoder: Encoder, picture: Tensor, inputs: Inputs) -> Trials:
    yield "encoder", lambda: encoder.encode_low_res(picture, _beside(encoder, inputs))


def _try_inpaint(encoder: Encoder, picture: Tensor, inputs: Inputs) -> Trials:
    yield "encoder", lambda: encoder.encode_inpaint(picture, picture, _beside(encoder, inputs))


_TRIALS: dict[str, Callable[[Encoder, Tensor, Inputs], Trials]] = {
    "text": _try_text,
    "class": _try_class,
    "map": _try_map,
    "sketch": _try_sketch,
    "low resolution": _try_low_res,
    "inpainting": _try_inpaint,
}


def _beside(encoder: Encoder, inputs: Inputs) -> Condition | None:
    """A stand-in for the condition that an expert needs beside a picture; encoding a text takes too long here."""
    return None if encoder.needs_more and "condition" not in inputs else Condition()
