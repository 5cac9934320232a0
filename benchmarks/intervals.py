"""Bootstrap confidence intervals over interleaved rounds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000


class Interval(NamedTuple):
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> "Interval":
        """A value that is known exactly."""
        return cls(value, value, value)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Σ numerators / Σ denominators; entries of one index belong to one round."""
    return _bootstrap(lambda a, b: a.sum(-1) / b.sum(-1), numerators, denominators)


def difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of first − second; entries of one index belong to one round."""
    return _bootstrap(lambda a, b: (a - b).mean(-1), first, second)


def _bootstrap(statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], *samples: Sequence[float]) -> Interval:
    """Percentile bootstrap; rounds are drawn whole, because what slows a machine slows neighbours alike."""
    columns = [np.asarray(sample, dtype=float) for sample in samples]
    rounds = len(columns[0])
    drawn = np.random.default_rng(0).integers(0, rounds, size=(RESAMPLES, rounds))
    low, high = np.percentile(statistic(*(column[drawn] for column in columns)), (2.5, 97.5))
    return Interval(float(statistic(*columns)), float(low), float(high))
