"""Measures of samples against the pictures that their conditions come from."""

import numpy as np

from mcdm_core.conditions.reading.sketch import edges

from ..metrics import FeatureNetwork, boundary_f1, perceptual_distance, structural_similarity


def measure_similarity(
    images: np.ndarray, references: np.ndarray, network: FeatureNetwork | None
) -> dict[str, np.ndarray]:
    """SSIM and, with a network, the perceptual distance; both sets uint8, (B, H, W, 3)."""
    measures = {"SSIM": structural_similarity(images, references)}
    if network is not None:
        measures["perceptual distance"] = perceptual_distance(images, references, network)
    return measures


def measure_edges(images: np.ndarray, references: np.ndarray) -> dict[str, np.ndarray]:
    """F1 of the edges of samples with those of the pictures whose sketch was requested; both uint8, (B, H, W, 3).

    Edges match up to 1/64 of the picture's side.
    """
    tolerance = max(1, round(images.shape[1] / 64))
    pairs = zip(edges(images) > 0, edges(references) > 0, strict=True)
    return {"edge F1": np.array([boundary_f1(*pair, tolerance) for pair in pairs])}
