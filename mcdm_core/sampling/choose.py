"""Choosing among finished samples: those that every expert finds likelier with its condition than without.

By the lift scores of CompLift, see `mcdm_core.product.methods.lift_scores`.
"""

import math
from collections.abc import Sequence

from torch import Tensor

from ..product.methods.lift_scores import least_scores


def check_choice(count: int, batch: int) -> None:
    """Refuse a number of samples that cannot be kept, or too few samples to choose from.

    Args:
        count: How many samples to keep.
        batch: How many there are.

    Raises:
        ValueError: If there are fewer than two samples, or `count` is not within 1…batch.
    """
    if batch < 2:
        raise ValueError(f"Expected at least 2 samples to choose from and got {batch}; raise the size of the batch.")
    if not 1 <= count <= batch:
        raise ValueError(
            f"Expected to keep from 1 to all {batch} samples and got {count}; lower it, or sample a larger batch."
        )


def choose(scores: Tensor, count: int) -> Tensor:
    """The samples whose smallest score is largest.

    Args:
        scores: Lift scores, shape (B, N); a sample that no expert covers has infinite ones only, and comes last.
        count: How many to keep.

    Returns:
        Their indices, the best first, shape (count,); equal samples keep their order.

    Raises:
        ValueError: As `check_choice`.
    """
    check_choice(count, len(scores))
    return least_scores(scores).argsort(descending=True, stable=True)[:count]


def told_choice(labels: Sequence[str], scores: Tensor) -> str:
    """A line for each sample, the best first: its smallest score, and that by each expert.

    Args:
        labels: What the experts are called.
        scores: See `choose`.
    """
    lines, least = [], least_scores(scores).tolist()
    for index in choose(scores, len(scores)).tolist():
        own = ", ".join(f"{name} {_number(value)}" for name, value in zip(labels, scores[index].tolist(), strict=True))
        said = f"smallest lift {_number(least[index])} ({own})" if math.isfinite(least[index]) else "outside every mask"
        lines.append(f"picture {index + 1}: {said}")
    return "\n".join(lines)


def _number(value: float) -> str:
    """A score as text; it is infinite if the expert's mask excludes the whole picture."""
    return f"{value:+.4f}" if math.isfinite(value) else "none, outside the mask"
