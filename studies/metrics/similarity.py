"""Structural similarity of pictures."""

import numpy as np

from .libraries import library
from .pictures import checked_pairs

WINDOW = 11  # pixels, to which a Gaussian of σ = 1.5 is truncated


def structural_similarity(images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """SSIM of pictures and their references, by scikit-image.

    Eqs. 13 and 17 of Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE TIP
    13(4), 2004) with that paper's constants: a Gaussian window of 11 × 11 pixels with σ = 1.5, K₁ = 0.01, K₂ = 0.03, a
    range of 255. It is computed for red, green and blue separately and averaged.

    Args:
        images: uint8, (N, H, W, 3), H and W of 11 or more.
        references: uint8, (N, H, W, 3).

    Returns:
        SSIM of each pair, float64, (N,), in −1…1: 1 for equal pictures.

    Raises:
        ValueError: The pictures are not uint8 (N, H, W, 3), their shapes differ, or they are smaller than the window.
        ImportError: scikit-image is not installed.
    """
    images, references = checked_pairs(images, references)
    if min(images.shape[1:3]) < WINDOW:
        raise ValueError(
            f"SSIM needs pictures of at least {WINDOW} × {WINDOW} pixels, but these have {images.shape[1]} × "
            f"{images.shape[2]}; take larger ones."
        )
    metrics = library("skimage.metrics", "scikit-image", "SSIM")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
    pairs = zip(images, references, strict=True)
    return np.array([metrics.structural_similarity(*pair, data_range=255, **options) for pair in pairs])
