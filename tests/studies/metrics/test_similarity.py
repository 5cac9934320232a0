"""SSIM against its closed forms."""

import numpy as np
import pytest

from studies.metrics import structural_similarity
from studies.metrics.libraries import library

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def pictures(values: np.ndarray) -> np.ndarray:
    """One gray picture of these values."""
    return np.repeat(np.uint8(values)[None, ..., None], 3, axis=-1)


def checkerboard(amplitude: float) -> np.ndarray:
    rows, columns = np.indices((32, 32))
    return pictures(128 + amplitude * (-1.0) ** (rows + columns))


def test_flat_pictures_differ_in_luminance_alone():
    black, gray = pictures(np.zeros((16, 16))), pictures(np.full((16, 16), 100))
    assert structural_similarity(black, gray) == pytest.approx([C1 / (100**2 + C1)])
    bright = pictures(np.full((16, 16), 200))
    assert structural_similarity(gray, bright) == pytest.approx([(2 * 100 * 200 + C1) / (100**2 + 200**2 + C1)])


def test_checkerboards_differ_in_contrast_and_structure_alone():
    # Under the Gaussian window their mean is 128, and amplitudes a and b give variances a², b² and covariance ab.
    full, half, inverse = checkerboard(40), checkerboard(20), checkerboard(-40)
    assert structural_similarity(full, half) == pytest.approx([(2 * 40 * 20 + C2) / (40**2 + 20**2 + C2)], abs=1e-3)
    assert structural_similarity(full, inverse) == pytest.approx([(C2 - 2 * 40**2) / (2 * 40**2 + C2)], abs=1e-3)


def test_channels_count_alike():
    red = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    red[..., 0] = 100
    black = np.zeros_like(red)
    assert structural_similarity(red, black) == pytest.approx([(C1 / (100**2 + C1) + 2) / 3])


def test_what_cannot_be_compared_is_refused():
    small = np.zeros((1, 10, 32, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="at least 11 × 11 pixels, but these have 10 × 32"):
        structural_similarity(small, small)
    large = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="a reference of its size"):
        structural_similarity(large, small)
    with pytest.raises(ValueError, match="uint8"):
        structural_similarity(large / 255, large)


def test_a_library_that_is_not_there_is_named_with_what_needs_it():
    with pytest.raises(ImportError, match=r"SSIM needs some-package, .*pip install some-package\."):
        library("module_that_is_not_there", "some-package", "SSIM")
