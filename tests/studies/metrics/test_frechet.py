"""Fréchet distance against closed forms of Gaussians."""

import numpy as np
import pytest

from studies.metrics import frechet_distance, frechet_figure


def with_moments(mean, covariance, count: int, seed: int) -> np.ndarray:
    """Features whose sample mean and covariance are exactly these."""
    normal = np.random.default_rng(seed).normal(size=(count, len(mean)))
    centred = normal - normal.mean(axis=0)
    white = centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred.T))).T
    return white @ np.linalg.cholesky(np.array(covariance)).T + mean


def test_distance_of_gaussians_whose_covariances_do_not_commute():
    one, other = np.array([[2, 0.8], [0.8, 1]]), np.array([[1, -0.5], [-0.5, 3]])
    a, b = with_moments([1, 2], one, 30, seed=2), with_moments([0, 4], other, 40, seed=3)
    # For 2 × 2 matrices tr √M = √(tr M + 2 √det M).
    root_trace = np.sqrt(np.trace(one @ other) + 2 * np.sqrt(np.linalg.det(one) * np.linalg.det(other)))
    assert frechet_distance(a, b) == pytest.approx(5 + 3 + 4 - 2 * root_trace, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-12)


def test_a_set_is_at_no_distance_from_itself_even_if_smaller_than_its_features():
    few = np.random.default_rng(4).normal(100, 1, (5, 20))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(few, few + 0.5) == pytest.approx(20 * 0.25, rel=1e-9)


def test_the_figure_holds_the_true_distance_and_less_bias():
    spread, shift = np.array([1.5, 1, 1, 1, 1, 1, 1, 1]), 0.25
    truth = 8 * shift**2 + 0.5**2
    held, biased, mended = 0, [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(100, 8)), rng.normal(size=(100, 8)) * spread + shift
        figure = frechet_figure(a, b, draws=100)
        held += figure.low <= truth <= figure.high
        biased.append(frechet_distance(a, b))
        mended.append(figure.value)
    assert held >= 34
    bias = np.mean(biased) - truth
    assert bias > 0.3
    assert abs(np.mean(mended) - truth) < bias / 3


def test_a_figure_ends_at_zero():
    rng = np.random.default_rng(0)
    figure = frechet_figure(rng.normal(size=(50, 4)), rng.normal(size=(50, 4)), draws=50)
    assert figure.low == 0
    assert figure.value >= 0
    assert figure.high > 0


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), "at least 2"),
        (np.zeros((4, 3, 3)), np.zeros((4, 3)), r"\(4, 3, 3\)"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "3 and 2; take both from the same network"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)
    with pytest.raises(ValueError, match=message):
        frechet_figure(a, b)


def test_a_figure_of_fewer_pictures_than_features_is_refused():
    features = np.random.default_rng(0).normal(size=(20, 32))
    with pytest.raises(ValueError, match="more pictures than the 32 features of each and got 20"):
        frechet_figure(features, features)
