"""Bootstrap intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993), of 95 %."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Figure":
        """The mean of one value per sample."""
        return cls(float(np.mean(values)), *bootstrap_interval(np.array(values, dtype=np.float64)))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_interval(values: np.ndarray, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of `values`, (N,)."""
    rng = np.random.default_rng(seed)
    means = np.asarray(values)[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
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
        samples: The sets, (N, …) each, resampled independently.
        seed: Seed of the draws.
        draws: Number of resampled statistics.
    """
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(s[rng.integers(0, len(s), len(s))] for s in samples)) for _ in range(draws)]
    low, high = np.percentile(drawn, PERCENTILES)
    twice = 2 * statistic(*samples)
    return Figure(float(twice - np.mean(drawn)), float(twice - high), float(twice - low))
