"""A patch discriminator at several scales, and the losses of it and the generator.

References:
    Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018
    (pix2pixHD); Park et al., CVPR 2019 (SPADE); Miyato et al., "Spectral Normalization for GANs", ICLR 2018.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .generator import SLOPE

Features = list[Tensor]
"""Activations of one scale's layers; the last are its scores."""


class PatchDiscriminator(nn.Module):
    """Scores of overlapping patches: three strided convolutions and two more, spectrally normalized.

    Args:
        inputs: Channels of picture and maps together.
        width: Channels of the first layer; the two after it double them.
    """

    def __init__(self, inputs: int, width: int):
        super().__init__()
        widths = (inputs, width, 2 * width, 4 * width)
        strided = [nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairwise(widths)]
        rest = [nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.Conv2d(4 * width, 1, 3, padding=1)]
        self.layers = nn.ModuleList(spectral_norm(layer) for layer in (*strided, *rest))

    def forward(self, x: Tensor) -> Features:
        """Features of pictures and maps, (B, inputs, H, W)."""
        features: Features = []
        for layer in self.layers:
            x = layer(F.leaky_relu(x, SLOPE) if features else x)
            features.append(x)
        return features


class Discriminator(nn.Module):
    """A patch discriminator each for the picture and for smaller copies of half, quarter, … its size, given the maps.

    Args:
        map_channels: Number of maps.
        width: See `PatchDiscriminator`.
        scales: Number of sizes.
    """

    def __init__(self, map_channels: int, width: int = 32, scales: int = 2):
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(3 + map_channels, width) for _ in range(scales))

    def forward(self, pictures: Tensor, maps: Tensor) -> list[Features]:
        """Features at every scale of pictures (B, 3, H, W) and their maps (B, map_channels, H, W)."""
        x = torch.cat([pictures, maps], dim=1)
        return [scale(F.avg_pool2d(x, 2**index)) for index, scale in enumerate(self.scales)]


def discriminator_loss(real: list[Features], generated: list[Features]) -> Tensor:
    """Hinge loss: mean of max(0, 1 − D(real)) + max(0, 1 + D(generated)), averaged over scales."""
    losses = [
        F.relu(1 - r[-1].float()).mean() + F.relu(1 + g[-1].float()).mean()
        for r, g in zip(real, generated, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(generated: list[Features]) -> Tensor:
    """The generator's side of the hinge loss: mean of −D(generated), averaged over scales."""
    return -torch.stack([scale[-1].float().mean() for scale in generated]).mean()


def matching_loss(real: list[Features], generated: list[Features]) -> Tensor:
    """Feature matching (Eq. 4 of pix2pixHD): mean absolute difference of all activations but the scores.

    Averaged over layers and scales; the pictures compared have the same maps. No gradient reaches `real`.
    """
    losses = [
        F.l1_loss(theirs.float(), own.detach().float())
        for r, g in zip(real, generated, strict=True)
        for own, theirs in zip(r[:-1], g[:-1], strict=True)
    ]
    return torch.stack(losses).mean()
