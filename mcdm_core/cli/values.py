"""Types of argparse for numbers and curves, which refuse values out of range."""

import argparse
import math
from collections.abc import Callable

from ..product.terms.curve import Curve, parse_curve

MOST_SEED = 2**64 - 1


def whole(least: int, most: int) -> Callable[[str], int]:
    """A type of argparse's: whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most} and got {text!r}")
        return number

    return read


def finite(text: str) -> float:
    """A type of argparse's: numbers that are neither infinite nor NaN."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected a number and got {text!r}")
    return number


def curve(text: str) -> Curve:
    """A type of argparse's: weight curves."""
    try:
        return parse_curve(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


positive = whole(1, 2**63 - 1)  # what torch can count
seed = whole(0, MOST_SEED)
