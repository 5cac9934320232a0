"""Pictures averaged to a smaller size."""

import numpy as np
import pytest

from studies.metrics import shrunk


def test_squares_are_averaged():
    image = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    image[0, :2, :2, 0] = [[0, 100], [200, 41]]
    image[0, 2:, 2:, 1] = 255
    small = shrunk(image, 2)
    assert small.dtype == np.uint8
    assert small[0, ..., 0].tolist() == [[85, 0], [0, 0]]  # 341/4
    assert small[0, ..., 1].tolist() == [[0, 0], [0, 255]]
    assert shrunk(image, 4) is image


@pytest.mark.parametrize("shape", [(1, 4, 6, 3), (1, 6, 6, 3), (1, 2, 2, 3)])
def test_only_multiples_can_be_averaged(shape):
    with pytest.raises(ValueError, match="square pictures of a multiple of 4 pixels and got"):
        shrunk(np.zeros(shape, dtype=np.uint8), 4)
