"""Conditions as the command line and configurations name them: a caption, a class, picture files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..expert.condition import Condition
from ..pictures.files import load_picture
from .encoder import Encoder
from .reading.maps import AUTO
from .reading.sketch import SketchSource


@dataclass(frozen=True, kw_only=True)
class ConditionRequest:
    """What an expert is given; fields are named as the options of the command line.

    Attributes:
        map: Picture of a segmentation map, white where the part is.
        map_kind: What the map shows: "hair" or "skin" ("face" is the same), or "auto" for the expert's kind.
        sketch: Picture whose edges are the sketch.
        drawing: Drawing, dark lines on light paper.
        text: Caption.
        class_name: Name or index of a class.
        low_res: Small picture to enlarge, beside a text or a class.
        with_text: Whether the map shares a batch with a text for the same network.
    """

    map: Path | None = None
    map_kind: str = AUTO
    sketch: Path | None = None
    drawing: Path | None = None
    text: str | None = None
    class_name: str | None = None
    low_res: Path | None = None
    with_text: bool = False


_ENCODINGS: dict[str, Callable[[Encoder, Any, ConditionRequest], Condition]] = {
    "map": lambda encoder, path, request: encoder.encode_map(load_picture(path, "black"), request.map_kind),
    "sketch": lambda encoder, path, _: encoder.encode_sketch(load_picture(path)),
    "drawing": lambda encoder, path, _: encoder.encode_sketch(load_picture(path), SketchSource.DARK_ON_LIGHT),
    "text": lambda encoder, text, _: encoder.encode_text(text),
    "class_name": lambda encoder, name, _: encoder.encode_class(encoder.find_class(name)),
}
"""Field → its encoding, for the conditions of which an expert takes one."""


def encode_request(encoder: Encoder, request: ConditionRequest, name: str) -> Condition | None:
    """Encode what is requested; None where nothing is.

    Args:
        encoder: The expert's.
        request: What it is given.
        name: The expert's, for messages.

    Raises:
        ValueError: More than one condition is given, or one that this expert does not read.
    """
    given = {kind: value for kind in _ENCODINGS if (value := getattr(request, kind)) is not None}
    if len(given) > 1:
        raise ValueError(f"An expert takes one condition, but {name} got {', '.join(given)}; keep one of them.")
    condition = None
    for kind, value in given.items():
        condition = _ENCODINGS[kind](encoder, value, request)
    if (request.with_text or request.map_kind != AUTO) and request.map is None:
        raise ValueError(
            f"A kind of map, and a text beside a map, describe a map, but {name} got none; add map, or leave them out."
        )
    if request.with_text and condition is not None:
        condition = encoder.with_text(condition)
    if request.low_res is not None:
        condition = encoder.encode_low_res(load_picture(request.low_res), condition)
    return condition
