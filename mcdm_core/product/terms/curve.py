"""Weight curves: a factor of an expert's weight that changes as the sampling goes on, linear between given points."""

import math
import re
from collections.abc import Callable
from itertools import pairwise

Curve = tuple[tuple[float, float], ...]
"""Points (progress of the sampling, factor of the weight), progress 0…1 ascending; empty is the factor 1 throughout."""

HALVINGS = 40
_EXPECTED = 'Expected a weight curve such as "0: 1, 0.5: 2, 1: 0.5", pairs of a share of the sampling and a factor'


def check_curve(curve: Curve, label: str) -> None:
    """Refuse what is no curve.

    Raises:
        ValueError: If it isn't of pairs of numbers (a text, say), the progress doesn't ascend within 0…1, or a number
            is not finite; one sentence that names the expert by `label`.
    """
    try:
        finite = [math.isfinite(number) for progress, factor in curve for number in (progress, factor)]
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected pairs of numbers such as ((0, 1), (1, 0.5)) as the weight curve for {label} and got {curve!r}; "
            "write its pairs in brackets."
        ) from None
    ascending = all(first < second for (first, _), (second, _) in pairwise(curve))
    if not all(finite) or not ascending or not all(0 <= progress <= 1 for progress, _ in curve):
        given = ", ".join(f"{progress:g}: {factor:g}" for progress, factor in curve)
        raise ValueError(
            f"Expected a weight curve for {label} whose shares ascend from 0 to 1 and whose factors are finite, and "
            f'got "{given}"; correct it, or leave it out.'
        )


def parse_curve(text: str) -> Curve:
    """Read a curve.

    Args:
        text: Pairs "progress: factor" between commas, such as "0: 1, 0.5: 2, 1: 0.5"; empty is no curve.

    Raises:
        ValueError: If it cannot be read, or is no curve.
    """
    entries = [entry.strip() for entry in text.split(",")] if text.strip() else []
    curve = tuple(_point(entry, text) for entry in entries)
    check_curve(curve, "this expert")
    return curve


def factor_at(curve: Curve, progress: float) -> float:
    """The factor at a progress of the sampling: linear between the given ones, and the nearest one before and after."""
    if not curve:
        return 1.0
    for (first, before), (second, after) in pairwise(((-math.inf, curve[0][1]), *curve, (math.inf, curve[-1][1]))):
        if progress <= second:
            if before == after:
                break
            return before + (after - before) * (progress - first) / (second - first)
    return before


def progress_at(sigma: float, sigma_at: Callable[[float], float]) -> float:
    """How far the sampling has come at a noise level, 0…1: the inverse of `sigma_at`, which falls.

    Args:
        sigma: The noise level; above the first it is 0, and below the last 1.
        sigma_at: Noise level at a progress.
    """
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sigma_at(middle) > sigma else (low, middle)
    return (low + high) / 2


def _point(entry: str, text: str) -> tuple[float, float]:
    numbers = re.split(r"\s*:\s*", entry)
    try:
        progress, factor = map(float, numbers)
    except ValueError:
        raise ValueError(f'{_EXPECTED}, and got "{text}"; correct it.') from None
    return progress, factor
