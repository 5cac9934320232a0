"""Bootstrap intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993), of 95 %."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95 % bootstrap interval; it is of `count` samples, 0 where that is untold."""

    value: float
    low: float
    high: float
    count: int = 0

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray, units: np.ndarray | None = None) -> "Figure":
        """The mean of one value per sample; for `units` see `bootstrap_interval`."""
        interval = bootstrap_interval(np.array(values, dtype=np.float64), units=units)
        return cls(float(np.mean(values)), *interval, len(values))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_interval(
    values: np.ndarray, seed: int = 0, draws: int = 2000, units: np.ndarray | None = None
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean.

    Args:
        values: (N,).
        seed: Seed of the draws.
        draws: Number of resampled means.
        units: For each value the number of its unit, (N,): units are resampled, with all their values, since these
            depend on each other. By default each value is a unit.
    """
    rng = np.random.default_rng(seed)
    units = np.arange(len(values)) if units is None else np.unique(units, return_inverse=True)[1]
    sums, sizes = np.bincount(units, values), np.bincount(units)
    drawn = rng.integers(0, len(sums), (draws, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, PERCENTILES)
    return float(low), float(high)


def pivotal_figure(
    statistic: Callable[..., float], samples: Sequence[np.ndarray], seed: int = 0, draws: int = 500
) -> Figure:
    """A bias-corrected statistic of small sets, with its 95 % basic (pivotal) bootstrap interval.

    Let θ be the statistic and θ* that of sets resampled from the given ones, with replacement. The bias of θ* about θ
    estimates that of θ about the truth, so the value is 2θ − mean θ*, and the interval runs from 2θ minus the upper
    percentile of θ* to 2θ minus the lower one. A percentile interval would have the bias twice.

    Args:
        statistic: Computes a number from one array per set.
        samples: The sets, (N, …) each, resampled independently; the first's N is the figure's count.
        seed: Seed of the draws.
        draws: Number of resampled statistics.
    """
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(s[rng.integers(0, len(s), len(s))] for s in samples)) for _ in range(draws)]
    low, high = np.percentile(drawn, PERCENTILES)
    twice = 2 * statistic(*samples)
    return Figure(float(twice - np.mean(drawn)), float(twice - high), float(twice - low), len(samples[0]))
