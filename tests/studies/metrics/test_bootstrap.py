"""Bootstrap intervals against the normal theory they approach."""

import numpy as np
import pytest

from studies.metrics import Figure, bootstrap_interval, pivotal_figure


def test_bootstrap_interval_of_a_mean():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(400), rel=0.1)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.full(10, 0.5)) == (0.5, 0.5)


def test_a_figure_of_samples_is_their_mean_and_prints_its_interval():
    values = [0.0, 1.0, 1.0, 1.0]
    assert Figure.of(values) == Figure(0.75, *bootstrap_interval(values), 4)
    assert str(Figure(0.75, 0.25, 1)) == "0.750 [0.250, 1.000]"


def test_values_of_one_unit_are_drawn_together():
    values = np.random.default_rng(1).normal(3.0, 2.0, 100)
    apart = bootstrap_interval(values)
    assert bootstrap_interval(values, units=np.arange(100)) == apart
    together = np.repeat(np.arange(7, 107), 4)
    assert bootstrap_interval(values.repeat(4), units=together) == pytest.approx(apart)
    narrow = bootstrap_interval(values.repeat(4))
    assert narrow[1] - narrow[0] == pytest.approx((apart[1] - apart[0]) / 2, rel=0.1)
    low, high = bootstrap_interval(np.array([0.0, 3.0, 3.0]), units=np.array([0, 1, 1]))  # a mean weighs units by size
    assert (low, high) == (0, 3)
    assert Figure.of([0.0, 3.0, 3.0], np.array([0, 1, 1])).value == 2


def test_the_variance_of_a_sample_loses_its_bias():
    # Over N, the variance is (1 − 1/N) σ² in the mean, and the bootstrap's is (1 − 1/N) of that.
    values = np.random.default_rng(2).normal(0, 3, 20)
    figure = pivotal_figure(np.var, [values], draws=20_000)
    assert figure.value == pytest.approx(np.var(values) * (1 + 1 / 20), rel=0.01)
    assert figure.low < figure.value < figure.high


def test_the_interval_of_a_difference_is_that_of_two_samples():
    rng = np.random.default_rng(3)
    one, other = rng.normal(5, 1, 300), rng.normal(2, 2, 200)
    figure = pivotal_figure(lambda a, b: a.mean() - b.mean(), [one, other], draws=2000)
    assert figure.value == pytest.approx(one.mean() - other.mean(), abs=0.02)
    width = 2 * 1.96 * np.sqrt(one.var() / 300 + other.var() / 200)
    assert figure.high - figure.low == pytest.approx(width, rel=0.1)
