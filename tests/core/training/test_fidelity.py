"""PSNR."""

import numpy as np
import pytest

from mcdm_core.training.autoencoder.report import peak_signal_to_noise


def test_a_known_difference_has_its_known_ratio():
    references = np.full((2, 4, 4, 3), 100, dtype=np.uint8)
    images = references.copy()
    images[0] += 10
    images[1, :2] -= 20
    expected = [10 * np.log10(255**2 / 100), 10 * np.log10(255**2 / 200)]
    assert peak_signal_to_noise(images, references) == pytest.approx(expected)


def test_equal_pictures_have_no_noise():
    images = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    assert peak_signal_to_noise(images, images)[0] == np.inf


def test_pictures_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="reference of its size"):
        peak_signal_to_noise(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 4, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="both uint8"):
        peak_signal_to_noise(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3)))
