"""A small convolutional image encoder."""

import torch.nn as nn
from torch import Tensor


class ImageEncoder(nn.Module):
    """Three strided stages, 4×4 pooling and a linear map.

    Args:
        dim: Length of the output.
        width: Channels of the first stage; each further stage doubles them. A multiple of 8.
    """

    def __init__(self, dim: int = 128, width: int = 32):
        super().__init__()
        self.stages = nn.Sequential(_stage(3, width), _stage(width, 2 * width), _stage(2 * width, 4 * width))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(4 * width * 16, dim))

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures in [−1, 1], (B, 3, H, W), to (B, dim)."""
        return self.head(self.stages(images))


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
    )
