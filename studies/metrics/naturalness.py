"""Naturalness of pictures, without references."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from .libraries import library
from .pictures import checked_pictures

PARAMETERS = Path(__file__).with_name("niqe_parameters.safetensors")
PATCH = 96  # pixels, the side of the patches that the parameters were fitted to


@torch.no_grad()
def niqe(images: np.ndarray, parameters: Path = PARAMETERS) -> np.ndarray:
    """NIQE, by deepinv: the distance of pictures' statistics from those of undistorted photographs.

    √((ν₁ − ν₂)ᵀ ((Σ₁ + Σ₂)/2)⁺ (ν₁ − ν₂)), Eq. 10 of Mittal, Soundararajan and Bovik, "Making a 'Completely Blind'
    Image Quality Analyzer" (IEEE SPL 20(3), 2013), with ν and Σ the mean and covariance of 36 features over patches of
    96 × 96 pixels, and the parameters of the authors' release. It is made for photographs: a flat drawing is far
    from them, however clean it is.

    Args:
        images: uint8, (N, H, W, 3), of two patches or more, hence at least 96 × 192 or 192 × 96. Pixels beyond whole
            patches at the right and bottom are ignored.
        parameters: Safetensors file of "mean", (36,), and "covariance", (36, 36), of undistorted pictures.

    Returns:
        NIQE of each picture, float64, (N,), 0 and up; smaller is more natural.

    Raises:
        ValueError: The pictures are not uint8 (N, H, W, 3), too small, or of one colour in all patches but one.
        ImportError: deepinv is not installed.
    """
    height, width = checked_pictures(images).shape[1:3]
    if (height // PATCH) * (width // PATCH) < 2:
        raise ValueError(
            f"NIQE needs pictures of two patches of {PATCH} × {PATCH} pixels or more, but these have {height} × "
            f"{width} pixels; take larger ones."
        )
    # In float32 deepinv is wrong in the fourth digit. As in the release, pictures are rounded after conversion to gray.
    measure = library("deepinv.loss.metric", "deepinv", "NIQE").NIQE(None, round_tensor=True, dtype=torch.float64)
    fitted = load_file(parameters)
    measure.mu_p, measure.cov_p = fitted["mean"].double(), fitted["covariance"].double()
    pictures = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).double()
    return np.array([_score(measure, picture, number) for number, picture in enumerate(pictures.split(1), start=1)])


def _score(measure: Callable[[Tensor], Tensor], picture: Tensor, number: int) -> float:
    try:
        return measure(picture).item()
    except torch.linalg.LinAlgError as error:  # there is no covariance of fewer than two patches
        raise ValueError(
            f"NIQE needs at least two patches of {PATCH} × {PATCH} pixels that show something, but picture {number} is "
            "of one colour in all or all but one; leave it out."
        ) from error
