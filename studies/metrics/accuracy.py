"""Which pictures show the requested class or attribute."""

from collections.abc import Sequence

import numpy as np


def right_answers(read: Sequence[str], asked: Sequence[str]) -> np.ndarray:
    """1 for each picture whose value is the requested one, 0 for the others, (N,).

    Raises:
        ValueError: There are no pictures, or not one requested value for each.
    """
    if len(read) != len(asked) or not len(read):
        raise ValueError(
            f"Accuracy needs what was read and what was asked for of the same pictures, one or more, but got "
            f"{len(read)} and {len(asked)}; pass one of each a picture."
        )
    return np.array([float(r == a) for r, a in zip(read, asked, strict=True)])
