"""The feature network of drawn pictures, and the interface of all feature networks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mcdm_core.networks.image_encoder import ImageEncoder

from .pictures import checked_pictures

WEIGHTS = Path(__file__).with_name("drawing_features.safetensors")
DIM, WIDTH = 64, 16
IMAGE_SIZE = 64
BATCH = 256


class PictureFeatures(NamedTuple):
    """Features of pictures.

    Attributes:
        layers: Activations of the network's layers, (B, C, H, W) of various sizes, for `perceptual_distance`.
        vector: (B, D), for `frechet_distance`.
    """

    layers: tuple[Tensor, ...]
    vector: Tensor


FeatureNetwork = Callable[[Tensor], PictureFeatures]
"""Maps pictures in [−1, 1], (B, 3, H, W), to their features."""


class DrawingFeatures(nn.Module):
    """Features of drawn faces and scenes: of their attributes, and of how blurred and how noisy they are.

    A small convolutional network with 64 outputs, and a linear classifier of these for each attribute. It is trained
    (`python -m studies evaluate train-features`) on its own seeds, and is not used in training any expert.

    Args:
        classes: Attribute → number of its values.
    """

    def __init__(self, classes: Mapping[str, int]):
        super().__init__()
        self.encoder = ImageEncoder(DIM, WIDTH)
        self.heads = nn.ModuleDict({name: nn.Linear(DIM, count) for name, count in classes.items()})

    def forward(self, pictures: Tensor) -> PictureFeatures:
        """Features of pictures in [−1, 1], (B, 3, 64, 64); pictures of multiples of that size are averaged to it.

        Raises:
            ValueError: The pictures have another size.
        """
        height, width = pictures.shape[2:]
        if height != width or height % IMAGE_SIZE:
            raise ValueError(
                f"The features of drawings need pictures of {IMAGE_SIZE} × {IMAGE_SIZE} pixels, or a multiple, but got "
                f"{height} × {width}; resize them, or use `resnet_features` for pictures of another kind."
            )
        if height > IMAGE_SIZE:
            pictures = F.avg_pool2d(pictures, height // IMAGE_SIZE)
        layers = []
        hidden = pictures
        for stage in self.encoder.stages:
            hidden = stage(hidden)
            layers.append(hidden)
        return PictureFeatures(tuple(layers), self.encoder.head(hidden))

    def logits(self, pictures: Tensor) -> dict[str, Tensor]:
        """Attribute → logits of its values, (B, number of values); pictures as in `forward`."""
        vector = self(pictures).vector
        return {name: head(vector) for name, head in self.heads.items()}


def drawing_features(path: Path = WEIGHTS) -> DrawingFeatures:
    """The trained network of drawn pictures of 64 × 64 pixels, or of a multiple of that."""
    weights = {name: tensor.float() for name, tensor in load_file(path).items()}
    biases = {name: tensor for name, tensor in weights.items() if name.startswith("heads.") and name.endswith(".bias")}
    network = DrawingFeatures({name.split(".")[1]: len(bias) for name, bias in biases.items()})
    network.load_state_dict(weights)
    return network.eval()


@torch.no_grad()
def feature_vectors(images: np.ndarray, network: FeatureNetwork) -> np.ndarray:
    """Features of pictures, as `frechet_distance` takes them.

    Args:
        images: uint8, (N, H, W, 3), of a size that the network takes.
        network: Computes the features.

    Returns:
        float64, (N, D).
    """
    chunks = (images[start : start + BATCH] for start in range(0, len(images), BATCH))  # large pictures take memory
    return torch.cat([network(to_network(chunk)).vector for chunk in chunks]).double().numpy()


def to_network(images: np.ndarray) -> Tensor:
    """uint8 pictures, (N, H, W, 3), as float in [−1, 1], (N, 3, H, W)."""
    return torch.from_numpy(np.array(checked_pictures(images))).permute(0, 3, 1, 2).float() / 127.5 - 1
