"""Entry point of `python -m benchmarks.cards`: what products of SD1.5 and SDXL take of a card, and on which they fit.

No card is needed: the tests' stand-in for an accelerator counts what is allocated and moved, in tensors that hold no
values. See `tests/accelerator`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .comfyui import enter
from .command import parsed

if TYPE_CHECKING:
    from .card_runs import Cards, Need, Outcome

HEAD = "| product | batch | networks, GiB | pass, GiB | {} |\n|---|---|---|---|{}"
CARDS = (6, 8, 12, 16, 24)


def main() -> int:
    """Parse the command line, measure, and print a Markdown table line by line."""
    parser = _parser()
    options = parsed(parser)
    from tests import accelerator  # before ComfyUI is imported, which looks for devices then

    logging.disable(logging.WARNING)
    try:
        accelerator.install(devices=1)
    except accelerator.NotBuiltError as error:
        parser.error(str(error))
    node = enter(cpu=False)
    from .card_runs import Cards

    if options.dynamic_vram:
        from .dynamic_vram import stand_in_on_cards

        stand_in_on_cards()
    cards = Cards(node, options.values)
    sizes = sorted(options.cards)
    names = [f"{size} GiB" for size in sizes]
    sys.stdout.write(f"{HEAD.format(' | '.join(names), '---|' * len(names))}\n")
    rows: list[list[object]] = [["product", "batch", "networks", "pass", *names]]
    for name, batch in _chosen(options, list(cards.products)):
        need = cards.need(name, batch)
        outcomes = list(_outcomes(cards, name, batch, need, sizes))
        sys.stdout.write(f"{_line(name, batch, need, outcomes)}\n")
        sys.stdout.flush()
        rows.append([name, batch, need.networks, need.of_pass, *map(str, outcomes)])
    if options.csv:
        from .report import write_rows

        write_rows(options.csv, rows)
    return 0


def _chosen(options: argparse.Namespace, names: list[str]) -> Iterator[tuple[str, int]]:
    for name in names:
        if not options.only or any(part in name for part in options.only):
            for batch in options.batches:
                yield name, batch


def _outcomes(cards: Cards, name: str, batch: int, need: Need, sizes: list[int]) -> Iterator[Outcome]:
    """From the smallest card on; where a product fits it does on all larger ones, by the same run."""
    outcome = None
    for size in sizes:
        if outcome is None or not outcome.fits:
            outcome = cards.outcome(name, batch, size, need)
        yield outcome


def _line(name: str, batch: int, need: Need, outcomes: list[Outcome]) -> str:
    cells = " | ".join(map(str, outcomes))
    return f"| {name} | {batch} | {need.networks:.2f} | {need.of_pass:.2f} | {cells} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cards", description=__doc__)
    parser.add_argument("--cards", nargs="+", type=int, default=CARDS, help="their memory in GiB")
    parser.add_argument("--batches", nargs="+", type=int, default=(1, 4), help="pictures at once")
    parser.add_argument("--only", nargs="+", help="products whose names have one of these parts")
    parser.add_argument(
        "--dynamic-vram",
        action="store_true",
        help="load by ComfyUI's dynamic VRAM, its default on NVIDIA, as the tests stand in for it",
    )
    parser.add_argument(
        "--values",
        action="store_true",
        help="compute everything, to compare with what is measured without values: minutes a step",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
