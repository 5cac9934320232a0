"""Perceptual distance over a given feature network."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .features import BATCH, FeatureNetwork, to_network
from .pictures import checked_pairs


@torch.no_grad()
def perceptual_distance(images: np.ndarray, references: np.ndarray, network: FeatureNetwork) -> np.ndarray:
    """Distance of pictures from their references in a network's activations, summed over layers.

    Σ_l 1/(H_l W_l) Σ_hw |ŷ_l,hw − ŷ'_l,hw|², where ŷ are activations scaled to length 1 over the channels at every
    position: Eq. 1 of Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR
    2018), with all weights w_l = 1. It is not LPIPS, whose weights were fitted to human judgements: name the network
    beside the figure.

    Args:
        images: uint8, (N, H, W, 3).
        references: uint8, (N, H, W, 3).
        network: Computes the layers, see `PictureFeatures`.

    Returns:
        Distance of each pair, float64, (N,), in 0 (same activations) … 4 times the number of layers (opposite ones).

    Raises:
        ValueError: The pictures are not uint8 (N, H, W, 3), or their shapes differ.
    """
    images, references = checked_pairs(images, references)
    chunks = (slice(start, start + BATCH) for start in range(0, len(images), BATCH))  # large pictures take memory
    pairs = ((network(to_network(each[chunk])).layers for each in (images, references)) for chunk in chunks)
    return torch.cat([_distances(*pair) for pair in pairs]).numpy()


def _distances(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
    layers = zip(one, other, strict=True)
    return torch.stack([_unit(a).sub(_unit(b)).square().sum(dim=1).mean(dim=(1, 2)) for a, b in layers]).sum(dim=0)


def _unit(activations: Tensor) -> Tensor:
    """Activations scaled to length 1 over the channels; all zeros stay zeros."""
    return F.normalize(activations.double(), dim=1)
