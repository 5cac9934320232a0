"""Options of the command line that describe experts, and the terms of a product made from them."""

import argparse
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checkpoints import load_expert
from ..conditions.request import ConditionRequest, encode_request
from ..expert.expert import Expert
from ..product.terms.term import Term
from ..product.terms.term_numbers import TermNumbers
from ..system.shipped import expert_path
from .values import curve


@dataclass(frozen=True)
class ExpertRequest(ConditionRequest, TermNumbers):
    """Options of the command line for one expert: its condition, and its numbers in the product.

    Attributes:
        expert: Name of a shipped expert, or a file.
    """

    expert: str

    @property
    def label(self) -> str:
        """The expert's name."""
        return self.expert


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


def build_terms(requests: Sequence[ExpertRequest], device: str) -> list[Term]:
    """Load the experts and encode their conditions; experts of one file share its network.

    Raises:
        ValueError: An expert or its condition cannot be used as given.
        FileNotFoundError: There is no file and no shipped expert of that name.
    """
    load = functools.cache(lambda path: load_expert(path, device))
    return [_build_term(load(expert_path(request.expert)), request) for request in requests]


def _build_term(expert: Expert, request: ExpertRequest) -> Term:
    condition = encode_request(expert.encoder, request, request.expert)
    null = expert.encoder.null(1) if condition is None else expert.encoder.null_like(condition)
    return Term(expert, condition, null, **request.numbers)
