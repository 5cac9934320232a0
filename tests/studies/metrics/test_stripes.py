"""Stripes of known amplitude and period."""

import numpy as np
import pytest

from studies.metrics import stripes
from studies.metrics.stripes import flat_pixels

SIZE = 64
ROWS, COLUMNS = np.indices((SIZE, SIZE))


def picture(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.round().astype(np.uint8)[None, ..., None], 3, axis=-1)


def flat(value=120.0):
    return np.full((SIZE, SIZE), value)


@pytest.mark.parametrize("value", [0, 120, 255])
def test_a_flat_picture_has_none(value):
    assert stripes(picture(flat(value))) == pytest.approx([0], abs=1e-4)


@pytest.mark.parametrize("period", [4, 8])
@pytest.mark.parametrize("phase", [0, 0.7, 1.9])
@pytest.mark.parametrize("where", [ROWS, COLUMNS, ROWS + COLUMNS])
def test_a_sine_has_its_root_mean_square(period, phase, where):
    wave = 20 * np.sin(2 * np.pi * where / period + phase)
    assert stripes(picture(flat() + wave)) == pytest.approx([20 / np.sqrt(2)], rel=0.02)


def test_lines_and_checks_have_their_amplitude():
    for pattern in (COLUMNS % 2, (ROWS + COLUMNS) % 2):
        assert stripes(picture(flat() + 12 * (2 * pattern - 1))) == pytest.approx([12], rel=1e-4)


def test_powers_of_periods_add_up():
    waves = [a * np.sin(2 * np.pi * COLUMNS / p + 0.4) for a, p in ((16, 8), (12, 4))]
    assert stripes(picture(flat() + sum(waves))) == pytest.approx([np.hypot(16, 12) / np.sqrt(2)], rel=0.02)


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
