"""Noise, softness and stripes of patterns whose energy, amplitude and period are known."""

import numpy as np
import pytest

from studies.metrics import flat_noise, high_frequency_energy, stripes
from studies.metrics.stripes import flat_pixels


def picture(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.round().astype(np.uint8)[None, ..., None], 3, axis=-1)


def test_high_frequency_energy_of_patterns():
    rows, columns = np.indices((32, 32))
    assert high_frequency_energy(picture(np.full((32, 32), 130))) == pytest.approx(0, abs=1e-12)
    # A checkerboard of 0 and 1 is 1/2 ± 1/2, all of it at the Nyquist frequency.
    assert high_frequency_energy(picture(255 * ((rows + columns) % 2))) == pytest.approx(0.25)
    slow = 127.5 + 100 * np.sin(2 * np.pi * columns / 16)
    assert high_frequency_energy(picture(slow)) < 1e-5


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


SIZE = 64
ROWS, COLUMNS = np.indices((SIZE, SIZE))


def flat(value=120.0):
    return np.full((SIZE, SIZE), value)


@pytest.mark.parametrize("period", [4, 8])
@pytest.mark.parametrize("phase", [0, 0.7, 1.9])
@pytest.mark.parametrize("where", [ROWS, COLUMNS, ROWS + COLUMNS])
def test_a_sine_has_its_root_mean_square(period, phase, where):
    wave = 20 * np.sin(2 * np.pi * where / period + phase)
    assert stripes(picture(flat() + wave)) == pytest.approx([20 / np.sqrt(2)], rel=0.02)


def test_lines_and_checks_have_their_amplitude():
    for pattern in (COLUMNS % 2, (ROWS + COLUMNS) % 2):
        assert stripes(picture(flat() + 12 * (2 * pattern - 1))) == pytest.approx([12], rel=1e-4)


def test_slopes_and_long_waves_are_no_stripes():
    for slope in (COLUMNS / 4, (ROWS + COLUMNS) / 8):  # rounding to whole values is all that is left
        assert stripes(picture(flat() + slope)) == pytest.approx([0], abs=0.35)
    wave = 4 * np.sin(2 * np.pi * COLUMNS / SIZE)
    assert stripes(picture(flat() + wave))[0] < 0.5


def test_of_noise_the_share_of_the_waves_is_counted():
    noise = np.random.default_rng(0).normal(0, 5, (1, 256, 256, 3))
    noisy = (128 + noise).round().astype(np.uint8)
    # 35 of 256 dimensions; the plane takes a little of it.
    assert stripes(noisy) == pytest.approx([5 * np.sqrt(35 / 256)], rel=0.05)


def test_edges_are_left_out_and_stripes_beside_them_are_not():
    edge = np.where(COLUMNS < 30, 40.0, 200.0)
    assert stripes(picture(edge)) == pytest.approx([0], abs=1e-4)
    wave = 20 * np.sin(2 * np.pi * ROWS / 8)
    assert stripes(picture(edge + wave)) == pytest.approx([20 / np.sqrt(2)], rel=0.02)


def test_only_areas_that_should_be_flat_count():
    wave = np.where(COLUMNS < 32, 20 * np.sin(2 * np.pi * ROWS / 8), 0)
    image = picture(flat() + wave)
    left = (COLUMNS < 32)[None]
    assert stripes(image, left) == pytest.approx([20 / np.sqrt(2)], rel=0.02)
    assert stripes(image, ~left) == pytest.approx([0], abs=1e-4)
    assert np.isnan(stripes(image, np.zeros_like(left))).all()


def test_each_picture_has_its_value():
    wave = 20 * np.sin(2 * np.pi * ROWS / 8)
    both = np.concatenate([picture(flat()), picture(flat() + wave)])
    assert stripes(both) == pytest.approx([0, 20 / np.sqrt(2)], abs=0.3)


def test_flat_pixels_have_neighbours_of_one_colour():
    edge = picture(np.where(COLUMNS < 30, 40.0, 200.0))
    found = flat_pixels(edge)[0]
    assert found[1:-1, 1:29].all()
    assert found[1:-1, 31:-1].all()
    assert not found[:, 29:31].any()
    assert not found[0].any()
