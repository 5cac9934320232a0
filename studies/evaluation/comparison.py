"""Compares settings with one of them picture by picture, which shows smaller differences than comparing means."""

from collections.abc import Sequence

import numpy as np

from ..metrics import Figure
from .row import Row, figure_of


def difference(values: np.ndarray, base: np.ndarray) -> Figure | None:
    """Mean of values − base over the pictures that have both, with its interval; None if there are none.

    Args:
        values: A value for each of the first pictures, (B,), NaN where there is none.
        base: Values to compare with, likewise; the rest of the longer array is ignored.
    """
    count = min(len(values), len(base))
    return figure_of(values[:count] - base[:count])


def differences_table(title: str, rows: Sequence[Row], against: str, measures: Sequence[str]) -> str:
    """Markdown table: measures of every other setting minus those of the row named `against`.

    Args:
        title: Title above the table.
        rows: All rows.
        against: Label of the row to compare with.
        measures: Columns; measures without a value per picture are left out.
    """
    (base,) = [row for row in rows if row.label == against]
    columns = [name for name in measures if name in base.values]
    lines = [f"## {title}", "", f"Differences from {against!r}, picture by picture, with 95 % bootstrap intervals.", ""]
    lines += [f"| | n | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        if row.setting is not None and row is not base:
            found = [
                difference(row.values[name], base.values[name]) if name in row.values else None for name in columns
            ]
            cells = [f"{f.value:+.4f} [{f.low:+.4f}, {f.high:+.4f}]" if f else "" for f in found]
            label = row.label.replace("|", r"\|")
            lines.append(f"| {label} | {min(len(row.images), len(base.images))} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
