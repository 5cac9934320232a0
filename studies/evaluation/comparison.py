"""Settings compared picture by picture with one of them, which tells smaller differences than two means do."""

from collections.abc import Sequence

import numpy as np

from ..metrics import Figure
from .row import Row


def difference(values: np.ndarray, base: np.ndarray) -> Figure | None:
    """Mean of values − base over the pictures that have both, with its interval; None where none has.

    Args:
        values: A value for each of the first pictures, (B,), NaN where there is none.
        base: Likewise of what they are compared with; where one of the two is longer, its rest is left out.
    """
    count = min(len(values), len(base))
    differences = values[:count] - base[:count]
    known = differences[~np.isnan(differences)]
    return Figure.of(known) if len(known) else None


def differences_table(title: str, rows: Sequence[Row], against: str, measures: Sequence[str]) -> str:
    """Markdown: every other setting's measures less those of the row named `against`.

    Args:
        title: Stands above it.
        rows: What was measured.
        against: The label of one of them.
        measures: Columns; those that have no value a picture are left out.
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
            cells = [_signed(figure) if figure else "" for figure in found]
            label = row.label.replace("|", r"\|")
            lines.append(f"| {label} | {min(len(row.images), len(base.images))} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _signed(figure: Figure) -> str:
    return f"{figure.value:+.4f} [{figure.low:+.4f}, {figure.high:+.4f}]"
