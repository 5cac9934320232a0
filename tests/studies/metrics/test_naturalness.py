"""NIQE: its equation at known parameters, and the released ones on a photograph."""

import numpy as np
import pytest
import skimage.data
import skimage.filters
import torch
from deepinv.loss.metric import NIQE
from safetensors.torch import save_file

from studies.metrics import niqe


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """uint8, (1, 512, 512, 3)."""
    return skimage.data.astronaut()[None]


def test_distance_from_known_parameters_follows_the_equation(photograph, tmp_path):
    # Mean of the photograph's own features, over its 5 × 5 whole patches.
    own = NIQE(None, round_tensor=True, dtype=torch.float64)
    gray = np.round(photograph[0, :480, :480] @ np.array([0.29893602, 0.58704307, 0.11402090]))
    mean = own.create_weights([torch.from_numpy(gray)], sharpness_threshold=0)[0].double()
    # Beside so wide a covariance that of the photograph vanishes: NIQE is the offset's length over √(variance / 2).
    variance, offset = 1e6, torch.linspace(-0.5, 1, 36, dtype=torch.float64)
    for shift in (0, 1, 2):
        parameters = {"mean": mean + shift * offset, "covariance": variance * torch.eye(36, dtype=torch.float64)}
        save_file(parameters, tmp_path / "parameters.safetensors")
        lengths = niqe(photograph, tmp_path / "parameters.safetensors") * np.sqrt(variance / 2)
        assert lengths == pytest.approx([shift * float(offset.norm())], rel=1e-3, abs=1e-3)


def test_distorted_photographs_are_less_natural(photograph):
    blurred = skimage.filters.gaussian(photograph, (0, 3, 3, 0), preserve_range=True).round().astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 40, photograph.shape)
    noisy = (photograph + noise).clip(0, 255).round().astype(np.uint8)
    clean, soft, rough = niqe(np.concatenate([photograph, blurred, noisy]))
    assert clean < 5
    assert soft > clean + 2
    assert rough > clean + 2


def test_pictures_of_less_than_two_patches_are_refused():
    with pytest.raises(ValueError, match="two patches of 96 × 96 pixels or more, but these have 128 × 191"):
        niqe(np.zeros((1, 128, 191, 3), dtype=np.uint8))


def test_pictures_of_less_than_two_patches_with_contrast_are_refused(photograph):
    flat = np.full((1, 96, 288, 3), 90, dtype=np.uint8)
    one = flat.copy()
    one[:, :, :80] = photograph[:, 96:192, 192:272]  # the filters do not reach into the next patch
    two = flat.copy()
    two[:, :, :192] = photograph[:, 96:192, 192:384]
    assert np.isfinite(niqe(two))
    for lacking in (flat, one):
        with pytest.raises(ValueError, match="picture 2 is of one colour"):
            niqe(np.concatenate([two, lacking]))
