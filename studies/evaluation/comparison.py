"""Compares settings with one of them picture by picture, which shows smaller differences than comparing means."""

from collections.abc import Sequence

from ..metrics import Figure
from .row import Row, figure_of, of_fewer
from .rows import units


def difference(row: Row, base: Row, name: str) -> Figure | None:
    """Mean of a row's values less another's over the pictures that have both, with its interval; None without any.

    Args:
        row: Its pictures are the first ones, and the rest of the longer row is ignored.
        base: The row to compare with, likewise.
        name: Name of the measure, which the base has.
    """
    if name not in row.values:
        return None
    count = min(len(row.images), len(base.images))
    return figure_of(
        row.values[name][:count] - base.values[name][:count], units(name, count, row.setting, base.setting)
    )


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
            count = min(len(row.images), len(base.images))
            found = [difference(row, base, name) for name in columns]
            cells = [f"{f.value:+.4f} [{f.low:+.4f}, {f.high:+.4f}]{of_fewer(f, count)}" if f else "" for f in found]
            label = row.label.replace("|", r"\|")
            lines.append(f"| {label} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
