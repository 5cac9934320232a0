"""A feature network for any picture: a ResNet of torchvision, with weights from disk."""

import os
import re

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from mcdm_core.checkpoints.safe_reading import read_checkpoint

from .features import FeatureNetwork, PictureFeatures
from .libraries import library

SIZE = 224  # pixels, the training size of torchvision's ResNets
# Of ImageNet's pictures in 0…1, from torchvision's documentation.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STEM = ("conv1", "bn1", "relu", "maxpool")
STAGES = ("layer1", "layer2", "layer3", "layer4")


class ResNetFeatures(nn.Module):
    """Outputs of the four stages of a ResNet, and their mean over the picture after the last.

    Pictures are resized to 224 × 224 pixels, bilinearly and with antialiasing.

    Args:
        network: torchvision's `ResNet`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module):
        super().__init__()
        self.stem = nn.Sequential(*(network.get_submodule(name) for name in STEM))
        self.stages = nn.ModuleList(network.get_submodule(name) for name in STAGES)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None])

    def forward(self, pictures: Tensor) -> PictureFeatures:
        """Features of pictures in [−1, 1], (B, 3, H, W)."""
        resized = F.interpolate(pictures, (SIZE, SIZE), mode="bilinear", antialias=True)
        hidden = self.stem(((resized + 1) / 2 - self.mean) / self.deviation)
        layers = []
        for stage in self.stages:
            hidden = stage(hidden)
            layers.append(hidden)
        return PictureFeatures(tuple(layers), hidden.mean(dim=(2, 3)))


def resnet_features(path: str | os.PathLike) -> FeatureNetwork:
    """The ResNet in a file of torchvision's weights; resnet18, 34, 50, 101 or 152, recognized by its tensors.

    Nothing is downloaded. Distances over these features are neither FID nor LPIPS: name the file beside the figure.

    Args:
        path: Such as resnet50-11ad3fa6.pth; .pth or .safetensors.

    Raises:
        ValueError: The file is damaged, or holds no plain ResNet.
        ImportError: torchvision is not installed.
    """
    weights = read_checkpoint(path)[0]
    resnet = library("torchvision.models.resnet", "torchvision", "The features of a ResNet")
    block = resnet.Bottleneck if "layer1.0.conv3.weight" in weights else resnet.BasicBlock
    counts = [len({m[1] for name in weights if (m := re.match(rf"{stage}\.(\d+)\.", name))}) for stage in STAGES]
    classes = len(weights.get("fc.bias", torch.empty(1)))
    try:
        network = resnet.ResNet(block, counts, num_classes=classes)
        network.load_state_dict(weights)
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"The features need the weights of a torchvision ResNet (resnet18, 34, 50, 101 or 152), but {path} holds "
            "other tensors; choose such a file."
        ) from error
    return ResNetFeatures(network).eval()
