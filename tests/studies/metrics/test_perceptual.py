"""Perceptual distance: by hand on a tiny network, and as a distance should be on the stated one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from studies.metrics import PictureFeatures, drawing_features, perceptual_distance


def two_layers(pictures: torch.Tensor) -> PictureFeatures:
    """The picture itself, and its mean in a plane beside a constant plane."""
    mean = F.adaptive_avg_pool2d(pictures, 1).mean(dim=1, keepdim=True)
    return PictureFeatures((pictures, torch.cat([mean, torch.ones_like(mean)], dim=1)), mean.flatten(1))


def test_distance_on_a_tiny_network_is_what_one_calculates():
    red, white = np.zeros((2, 1, 1, 2, 3), dtype=np.uint8)
    red[..., 0], white[...] = 255, 255
    red[:, :, 1] = 255  # the second pixel is white in both
    # First layer: (1, −1, −1)/√3 against (1, 1, 1)/√3 are 2 − 2 · (−1/3) apart in one of two pixels.
    # Second layer: the mean of red is (−1/3 + 1)/2 = 1/3, that of white 1.
    cosine = (1 / 3 * 1 + 1 * 1) / (np.sqrt(1 / 9 + 1) * np.sqrt(2))
    expected = (2 + 2 / 3) / 2 + 2 - 2 * cosine
    assert perceptual_distance(red, white, two_layers) == pytest.approx([expected], rel=1e-6)


def blurred(images: np.ndarray, times: int) -> np.ndarray:
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    for _ in range(times):
        pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return pictures.round().byte().permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module")
def shapes() -> np.ndarray:
    """Four pictures of 64 × 64 pixels, of squares in flat colours."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (4, 8, 8, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)


def test_the_distance_grows_with_blur_and_has_no_side(shapes):
    network = drawing_features()
    distances = [perceptual_distance(blurred(shapes, times), shapes, network) for times in range(5)]
    assert distances[0] == pytest.approx(np.zeros(4), abs=1e-12)
    assert (np.diff(distances, axis=0) > 0).all()
    assert perceptual_distance(shapes, blurred(shapes, 3), network) == pytest.approx(distances[3], rel=1e-9)


def test_pictures_without_a_reference_of_their_size_are_refused(shapes):
    with pytest.raises(ValueError, match="a reference of its size"):
        perceptual_distance(shapes, shapes[:2], two_layers)
