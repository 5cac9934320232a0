"""Choosing among finished samples: those that every expert finds likelier with its condition than without.

By the lift of CompLift, see `mcdm_core.product.methods.lifts`.
"""

from torch import Tensor

from ..product.methods.lifts import least_lifts


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


def choose(lifts: Tensor, count: int) -> Tensor:
    """The samples whose smallest lift is largest.

    Args:
        lifts: Shape (B, N); a sample that no expert covers has infinite lifts only, and comes last.
        count: How many to keep.

    Returns:
        Their indices, the best first, shape (count,); equal samples keep their order.

    Raises:
        ValueError: As `check_choice`.
    """
    check_choice(count, len(lifts))
    return least_lifts(lifts).argsort(descending=True, stable=True)[:count]
