"""Reads what a sweep varies, from the texts and numbers of a node or the command line."""

import math
import re

from .sweep import MOST_ACROSS, SHARES, Sweep, Varied

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*-\s*({_NUMBER})\s*\[\s*(\d+)\s*\]\s*", re.ASCII)
_WEIGHTS = 'Expected weights, such as "1, 2, 4, 6", or "1-6 [6]" for six of them evenly from 1 to 6'
_FACTORS = 'Expected factors of the weights, such as "0.5, 1, 2", or "1-3 [5]" for five of them evenly from 1 to 3'


def parse_values(text: str, varied: Varied = Varied.RELIABILITY) -> tuple[float, ...]:
    """Read the values of a sweep.

    Args:
        text: Numbers and ranges between commas. "0-1 [5]" is five numbers evenly from 0 to 1, both included. Repeated
            numbers count once.
        varied: What they set.

    Raises:
        ValueError: If the text cannot be read, or a share is outside 0…1.
    """
    if varied is Varied.ABSOLUTE:
        return _parse(text, _WEIGHTS)
    values = _parse(text, SHARES)
    if not all(0 <= value <= 1 for value in values):
        raise ValueError(f'{SHARES}, and got "{text}"; correct it.')
    return values


def parse_factors(text: str) -> tuple[float, ...]:
    """Read factors of the weights; as `parse_values`, without limits.

    Raises:
        ValueError: If the text cannot be read.
    """
    return _parse(text, _FACTORS)


def read_sweep(expert_index: int, values: str, vary: str, guidance: str, seed: int, seeds: int) -> Sweep:
    """Read a sweep from texts and numbers of a node or the command line.

    Args:
        expert_index: Number of the chosen expert, from 1.
        values: See `parse_values`.
        vary: Value of a `Varied`.
        guidance: See `parse_factors`.
        seed: The first seed.
        seeds: How many there are, see `seeds_from`.

    Raises:
        ValueError: If a text cannot be read, or as `Sweep`.
    """
    varied, factors = Varied(vary), parse_factors(guidance)
    return Sweep(expert_index - 1, parse_values(values, varied), seeds_from(seed, seeds), varied, factors)


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """Consecutive seeds; after 2⁶⁴ − 1 comes 0."""
    return tuple((first + offset) % 2**64 for offset in range(count))


def _parse(text: str, expected: str) -> tuple[float, ...]:
    numbers: list[float] = []
    for entry in text.split(","):
        spread = _RANGE.fullmatch(entry)
        if spread is None:
            numbers.append(_number(entry, text, expected))
        else:
            first, last = (_number(end, text, expected) for end in (spread[1], spread[2]))
            numbers += _spread(first, last, int(spread[3]), text, expected)
    return tuple(dict.fromkeys(numbers))


def _number(entry: str, text: str, expected: str) -> float:
    try:
        number = float(entry)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f'{expected}, and got "{text}"; correct it.')
    return number


def _spread(first: float, last: float, count: int, text: str, expected: str) -> list[float]:
    if not 2 <= count <= MOST_ACROSS:
        raise ValueError(f'{expected}, 2 to {MOST_ACROSS} in a range, and got "{text}"; correct it.')
    return [first + (last - first) * step / (count - 1) for step in range(count - 1)] + [last]
