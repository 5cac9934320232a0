"""Measures against values known in closed form."""

import numpy as np
import pytest

from mcdm_core.evaluation.metrics import (
    bootstrap_interval,
    boundary_f1,
    f1_score,
    flat_noise,
    high_frequency_energy,
    intersection_over_union,
)

LEFT = np.array([[1, 1, 1, 0]], dtype=bool)
RIGHT = np.array([[0, 1, 1, 1]], dtype=bool)
NOTHING = np.zeros((1, 4), dtype=bool)


@pytest.mark.parametrize(
    ("one", "other", "iou", "f1"),
    [
        (LEFT, LEFT, 1, 1),
        (LEFT, RIGHT, 2 / 4, 4 / 6),
        (LEFT, ~LEFT, 0, 0),
        (NOTHING, NOTHING, 1, 1),
        (LEFT, NOTHING, 0, 0),
    ],
)
def test_overlaps(one, other, iou, f1):
    assert intersection_over_union(one, other) == pytest.approx(iou)
    assert f1_score(one, other) == pytest.approx(f1)
    assert intersection_over_union(other, one) == pytest.approx(iou)


def test_an_edge_counts_as_found_one_pixel_away():
    line, nothing = np.zeros((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)
    line[:, 2] = True
    assert boundary_f1(line, line) == 1
    assert boundary_f1(np.roll(line, 1, axis=1), line) == 1
    assert boundary_f1(np.roll(line, 2, axis=1), line) == 0
    half = line.copy()
    half[4:] = False
    # Of the other half of the line, the pixel beside the end is near enough: recall 5/8.
    assert boundary_f1(half, line) == pytest.approx(2 * (5 / 8) / (1 + 5 / 8))
    assert boundary_f1(nothing, nothing) == 1
    assert boundary_f1(nothing, line) == boundary_f1(line, nothing) == 0


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.uint8(values)[None, ..., None], 3, axis=-1)


def test_high_frequency_energy_of_patterns():
    rows, columns = np.indices((32, 32))
    assert high_frequency_energy(gray(np.full((32, 32), 130))) == pytest.approx(0, abs=1e-12)
    # A checkerboard of 0 and 1 is 1/2 ± 1/2, all of it at the Nyquist frequency.
    assert high_frequency_energy(gray(255 * ((rows + columns) % 2))) == pytest.approx(0.25)
    slow = 127.5 + 100 * np.sin(2 * np.pi * columns / 16)
    assert high_frequency_energy(gray(slow.round())) < 1e-5


def test_flat_noise_is_the_spread_within_patches():
    rng = np.random.default_rng(0)
    flat = np.full((1, 64, 64, 3), 120, dtype=np.uint8)
    everywhere = np.ones((1, 64, 64), dtype=bool)
    assert flat_noise(flat, everywhere) == 0
    noisy = (flat + rng.normal(0, 6, flat.shape)).round().astype(np.uint8)
    # The mean deviation of nine normal draws around their own mean is σ·√(8/9)·c₄(9).
    expected = 6 * np.sqrt(8 / 9) * 0.9693
    assert flat_noise(noisy, everywhere) == pytest.approx(expected, rel=0.03)
    half = everywhere.copy()
    half[:, :, 32:] = False
    noisy[:, :, :33] = 120
    assert flat_noise(noisy, half) == pytest.approx(0, abs=0.2)


def test_bootstrap_interval_of_a_mean():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(400), rel=0.1)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.full(10, 0.5)) == (0.5, 0.5)
