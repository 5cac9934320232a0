"""A classifier's error is a half where two sets are alike, and nothing where they are not."""

import numpy as np
import pytest

from studies.evaluation.telling_apart import telling_apart


def pictures(seed, count=24, size=128):
    """Squares of random colours on a ground of a random colour."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, size, size, 3), np.uint8)
    for image in images:
        image[:] = rng.integers(256, size=3)
        y, x = rng.integers(size - 32, size=2)
        image[y : y + 32, x : x + 32] = rng.integers(256, size=3)
    return images


def test_what_is_alike_is_not_told_apart():
    error = telling_apart(pictures(0), pictures(1), steps=20)
    assert 0.25 < error.value < 0.75
    assert error.low <= error.value <= error.high


@pytest.mark.long
def test_noise_is_told_apart():
    noise = np.random.default_rng(2).integers(-40, 41, (24, 128, 128, 3))
    noisy = (pictures(1).astype(int) + noise).clip(0, 255).astype(np.uint8)
    assert telling_apart(pictures(0), noisy, steps=60).value < 0.25


def test_a_picture_is_never_asked_of_the_classifier_that_has_seen_it():
    """In one half drawings are red and samples black, in the other the reverse: what one teaches is always wrong."""
    drawn, sampled = (np.zeros((4, 64, 64, 3), np.uint8) for _ in range(2))
    drawn[0::2, ..., 0] = sampled[1::2, ..., 0] = 255
    assert telling_apart(drawn, sampled, steps=20).value == pytest.approx(1)


def test_one_picture_has_no_halves():
    with pytest.raises(ValueError, match="take two pictures or more"):
        telling_apart(pictures(0, 1), pictures(1, 1))
