"""Noise and softness of patterns whose energy is known."""

import numpy as np
import pytest

from studies.metrics import flat_noise, high_frequency_energy


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
