"""A row of an evaluation's table."""

from dataclasses import dataclass

import numpy as np

from ..metrics import Figure
from .config import Setting

REAL = "the pictures themselves"


@dataclass(frozen=True)
class Row:
    """What was measured of one setting.

    Attributes:
        setting: The setting; None for the held-out pictures themselves.
        images: Its samples, uint8, (B, H, W, 3).
        values: Measure → a value a picture, (B,).
        figures: Measure → the mean, or the measure of the whole set, with its interval.
    """

    setting: Setting | None
    images: np.ndarray
    values: dict[str, np.ndarray]
    figures: dict[str, Figure]

    @property
    def label(self) -> str:
        """Names the row."""
        return self.setting.label if self.setting else REAL
