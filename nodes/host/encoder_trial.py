"""What an Encode … node will do with its encoder, tried before the run on a picture made up for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...mcdm_core import Condition
from ...mcdm_core.conditions import Encoder
from .conditioning import SWAPPED_ORDER

Inputs = Mapping[str, Any]


def try_encoder(encoder: Encoder, given: str, inputs: Inputs) -> None:
    """Refuse what the encoder's expert cannot use.

    Args:
        encoder: The expert's encoder.
        given: "text", "class", "map", "sketch", "low resolution" or "inpainting".
        inputs: The node's inputs as a prompt has them: widget values, and links for what other nodes make.

    Raises:
        ValueError: If the expert does not read what is given, or not this value of it.
    """
    picture = torch.zeros(1, encoder.image_size, encoder.image_size)
    picture[..., encoder.image_size // 2 :] = 1.0  # maps that are black all over are warned of
    _TRIALS[given](encoder, picture, inputs)


def _try_text(encoder: Encoder, picture: Tensor, inputs: Inputs) -> None:
    encoder.check_text()


def _try_class(encoder: Encoder, picture: Tensor, inputs: Inputs) -> None:
    name = inputs.get("class_name")
    encoder.encode_class(encoder.find_class(name) if isinstance(name, str) else 0)


def _try_map(encoder: Encoder, picture: Tensor, inputs: Inputs) -> None:
    kind = inputs.get("map", "auto")
    if not isinstance(kind, str):  # made by another node, so that only the run knows
        return
    condition = encoder.encode_map(picture, kind)
    if inputs.get("with_text") is True:
        encoder.with_text(condition)
    if inputs.get("map_order") == SWAPPED_ORDER:
        encoder.swapped()


def _try_sketch(encoder: Encoder, picture: Tensor, inputs: Inputs) -> None:
    encoder.encode_sketch(picture)


def _try_low_res(encoder: Encoder, picture: Tensor, inputs: Inputs) -> None:
    encoder.encode_low_res(picture, _beside(encoder, inputs))


def _try_inpaint(encoder: Encoder, picture: Tensor, inputs: Inputs) -> None:
    encoder.encode_inpaint(picture, picture, _beside(encoder, inputs))


_TRIALS: dict[str, Callable[[Encoder, Tensor, Inputs], None]] = {
    "text": _try_text,
    "class": _try_class,
    "map": _try_map,
    "sketch": _try_sketch,
    "low resolution": _try_low_res,
    "inpainting": _try_inpaint,
}


def _beside(encoder: Encoder, inputs: Inputs) -> Condition | None:
    """Stands for what the expert is told beside a picture; encoding a text for it would take too long here."""
    return None if encoder.needs_more and "condition" not in inputs else Condition()
