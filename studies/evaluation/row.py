"""A row of an evaluation's table."""

from dataclasses import dataclass

import numpy as np

from ..metrics import Figure
from .config import Setting

REAL = "the pictures themselves"
DECODED = "their decoded encodings"


@dataclass(frozen=True)
class Row:
    """Measures of one setting.

    Attributes:
        label: Name of the row.
        setting: The setting; None for the held-out pictures themselves and for their reconstructions by a VAE.
        images: Its samples, uint8, (B, H, W, 3).
        values: Measure → a value per picture, (B,).
        figures: Measure → the mean, or the measure of the whole set, with its interval.
    """

    label: str
    setting: Setting | None
    images: np.ndarray
    values: dict[str, np.ndarray]
    figures: dict[str, Figure]


def figure_of(values: np.ndarray, units: np.ndarray) -> Figure | None:
    """Mean over the pictures that have a value, those that are not NaN; None if there are none.

    Args:
        values: A value for each picture, (B,).
        units: What its bootstrap draws, see `units` of `rows.py`, (B,).
    """
    known = ~np.isnan(values)
    return Figure.of(values[known], units[known]) if known.any() else None


def of_fewer(figure: Figure, count: int) -> str:
    """What follows a figure in a row of `count` pictures: " (n = 197)" where only so many have a value."""
    return "" if figure.count == count else f" (n = {figure.count})"
