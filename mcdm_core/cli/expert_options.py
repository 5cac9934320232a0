"""Options of the command line that describe experts, and the terms of a product made from them."""

import argparse
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checkpoints import load_expert
from ..conditions import Encoder, SketchSource
from ..expert.condition import Condition
from ..expert.expert import Expert
from ..pictures.files import load_picture
from ..product.term import Term
from ..product.term_settings import TermSettings
from ..system.shipped import expert_path
from .values import curve


@dataclass(frozen=True)
class ExpertRequest(TermSettings):
    """Options of the command line for one expert, and its settings in the product; fields are named as the options.

    Attributes:
        expert: Name of a shipped expert, or a file.
        map: Picture of a segmentation map, white where the part is.
        map_kind: What the map shows: "hair" or "skin" ("face" is the same), or "auto" for the expert's kind.
        sketch: Picture whose edges are the sketch.
        drawing: Drawing, dark lines on light paper.
        text: Caption.
        class_name: Name or index of a class.
        low_res: Small picture to enlarge, beside a text or a class.
        with_text: Whether the map shares a batch with a text for the same network.
    """

    expert: str
    map: Path | None = None
    map_kind: str = "auto"
    sketch: Path | None = None
    drawing: Path | None = None
    text: str | None = None
    class_name: str | None = None
    low_res: Path | None = None
    with_text: bool = False

    @property
    def label(self) -> str:
        """The expert's name."""
        return self.expert


_ENCODINGS: dict[str, Callable[[Encoder, Any, ExpertRequest], Condition]] = {
    "map": lambda encoder, path, request: encoder.encode_map(load_picture(path), request.map_kind),
    "sketch": lambda encoder, path, _: encoder.encode_sketch(load_picture(path)),
    "drawing": lambda encoder, path, _: encoder.encode_sketch(load_picture(path), SketchSource.DARK_ON_LIGHT),
    "text": lambda encoder, text, _: encoder.encode_text(text),
    "class_name": lambda encoder, name, _: encoder.encode_class(encoder.find_class(name)),
}
"""Option → its encoding, for the conditions of which an expert takes one."""


class _BeginExpert(argparse.Action):
    """`--expert NAME` begins the description of one more expert."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        namespace.experts = [*(namespace.experts or []), ExpertRequest(values)]


class _DescribeExpert(argparse.Action):
    """Options such as `--weight 2` describe the expert named last; an option without a value is set to True."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        if not namespace.experts:
            parser.error(f"{self.option_strings[0]} describes an expert; put it after --expert NAME")
        value = True if self.nargs == 0 else values
        namespace.experts[-1] = replace(namespace.experts[-1], **{self.dest: value})


def add_expert_options(parser: argparse.ArgumentParser) -> None:
    """Add `--expert` and the options that describe it; `options.experts` becomes a list of `ExpertRequest`."""
    parser.add_argument(
        "--expert", dest="experts", action=_BeginExpert, required=True, help="a shipped expert's name, or a file"
    )
    describe = functools.partial(parser.add_argument, action=_DescribeExpert, default=argparse.SUPPRESS)
    describe("--map", type=Path, help="* segmentation map, white where the part is")
    describe(
        "--map-kind", choices=["auto", "face", "hair", "skin"], help="* what the map shows (what the expert reads)"
    )
    describe("--with-text", nargs=0, help="* another expert of the same face network reads a text")
    describe("--sketch", type=Path, help="* picture whose edges are the sketch")
    describe("--drawing", type=Path, help="* drawing, dark lines on light paper")
    describe("--text", help="* caption")
    describe("--class-name", help="* name or index of a class")
    describe("--low-res", type=Path, help="* small picture to enlarge, beside a caption or a class")
    describe("--weight", type=float, help="* guidance weight w (1)")
    describe("--reliability", type=float, help="* its share of the negative that all prompts are measured against (1)")
    describe("--start", type=float, help="* share of the steps at which it begins to act (0)")
    describe("--end", type=float, help="* share of the steps at which it stops (1)")
    describe("--sigma-start", type=float, help="* noise level below which it acts, of the first expert's (0: no limit)")
    describe("--sigma-end", type=float, help="* noise level down to which it acts (0: no limit)")
    describe(
        "--weight-curve",
        type=curve,
        metavar="PAIRS",
        help='* factors of the weight at shares of the steps, such as "0: 1, 0.5: 2, 1: 0", linear between them (1)',
    )


def encode_request(expert: Expert, request: ExpertRequest) -> Condition | None:
    """Encode the condition that the command line gives to an expert; None without one.

    Raises:
        ValueError: More than one condition is given, or one that this expert does not read.
    """
    given = {kind: value for kind in _ENCODINGS if (value := getattr(request, kind)) is not None}
    if len(given) > 1:
        raise ValueError(
            f"An expert takes one condition, but {request.expert} got {', '.join(given)}; keep one of them."
        )
    condition = None
    for kind, value in given.items():
        condition = _ENCODINGS[kind](expert.encoder, value, request)
    if (request.with_text or request.map_kind != "auto") and request.map is None:
        raise ValueError(
            f"--with-text and --map-kind describe a map, but {request.expert} got none; add --map or leave them out."
        )
    if request.with_text and condition is not None:
        condition = expert.encoder.with_text(condition)
    if request.low_res is not None:
        condition = expert.encoder.encode_low_res(load_picture(request.low_res), condition)
    return condition


def build_terms(requests: Sequence[ExpertRequest], device: str) -> list[Term]:
    """Load the experts and encode their conditions; experts of one file share its network.

    Raises:
        ValueError: An expert or its condition cannot be used as given.
        FileNotFoundError: There is no file and no shipped expert of that name.
    """
    load = functools.cache(lambda path: load_expert(path, device))
    return [_build_term(load(expert_path(request.expert)), request) for request in requests]


def _build_term(expert: Expert, request: ExpertRequest) -> Term:
    condition = encode_request(expert, request)
    null = expert.encoder.null(1) if condition is None else expert.encoder.null_like(condition)
    return Term(expert, condition, null, **request.numbers)
