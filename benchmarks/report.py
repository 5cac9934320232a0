"""Results as a Markdown table and as CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mcdm_core.system.formats import write_bytes

if TYPE_CHECKING:
    from .cases import Result
    from .intervals import Interval

HEAD = "| compared | unit | by the wall clock | by processor time |\n|---|---|---|---|"
CLOCKS = ("wall", "processor")


def line(result: Result) -> str:
    """A row of the Markdown table."""
    figures = [figure_text(figure) for figure in result.figures] + ["–"]
    return f"| {result.name} | {result.unit} | {figures[0]} | {figures[1]} |"


def show(results: Iterable[Result]) -> list[Result]:
    """Print the row of each result as it comes."""
    shown = []
    for result in results:
        shown.append(result)
        sys.stdout.write(f"{line(result)}\n")
        sys.stdout.flush()
    return shown


def write_csv(path: Path, results: Iterable[Result]) -> None:
    """One row per figure: name, unit, clock, estimate and the ends of its interval."""
    rows: list[list[object]] = [["compared", "unit", "clock", "estimate", "low", "high"]]
    for result in results:
        rows += [
            [result.name, result.unit, clock if len(result.figures) > 1 else "", *figure]
            for clock, figure in zip(CLOCKS, result.figures, strict=False)
        ]
    write_rows(path, rows)


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Rows, including the header, as CSV in UTF-8."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_bytes(path, text.getvalue().encode())


def figure_text(figure: Interval) -> str:
    """An estimate, with the ends of its interval where it has one."""
    estimate = f"{figure.value:.3f}"
    return estimate if figure.low == figure.high else f"{estimate} ({figure.low:.3f} … {figure.high:.3f})"
