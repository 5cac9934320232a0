"""What methods take beside a plain product, as a Markdown table and as CSV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .report import CLOCKS, figure_text, write_rows

if TYPE_CHECKING:
    from .intervals import Interval

HEAD = "| method | rows a picture | rows / plain | time / plain, wall | processor |\n|---|---|---|---|---|"


class Cost(NamedTuple):
    """What a method takes.

    Attributes:
        name: Of the method.
        rows: That networks are asked for each picture of the batch; exact.
        rows_ratio: Beside the plain product's.
        times: Of a whole run beside the plain product's, by the wall clock and by processor time.
    """

    name: str
    rows: float
    rows_ratio: float
    times: tuple[Interval, ...]


def line(cost: Cost) -> str:
    """A row of the Markdown table."""
    wall, processor = map(figure_text, cost.times)
    return f"| {cost.name} | {cost.rows:g} | {cost.rows_ratio:.3f} | {wall} | {processor} |"


def write_csv(path: Path, costs: Iterable[Cost]) -> None:
    """One row per method and clock: its rows, and the estimate of its time with the ends of its interval."""
    rows: list[list[object]] = [["method", "rows", "rows_ratio", "clock", "time_ratio", "low", "high"]]
    for cost in costs:
        clocks = zip(CLOCKS, cost.times, strict=True)
        rows += [[cost.name, cost.rows, cost.rows_ratio, clock, *figure] for clock, figure in clocks]
    write_rows(path, rows)
