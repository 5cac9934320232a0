"""Features of a torchvision ResNet that lies on disk, against torchvision's own extractor."""

import numpy as np
import pytest
import torch
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

from studies.metrics import feature_vectors, perceptual_distance, resnet_features

NAMES = ["layer1", "layer2", "layer3", "layer4", "avgpool"]
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@torch.no_grad()
def test_features_are_those_of_torchvision(name, tmp_path):
    torch.manual_seed(0)
    network = get_model(name, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    normalized = (torch.from_numpy(images) / 255 - MEAN) / DEVIATION
    expected = create_feature_extractor(network, NAMES)(normalized.permute(0, 3, 1, 2))

    features = resnet_features(tmp_path / "weights.pth")
    layers = features(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).layers
    for layer, wanted in zip(layers, NAMES, strict=False):
        torch.testing.assert_close(layer, expected[wanted], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(feature_vectors(images, features), expected["avgpool"].flatten(1), rtol=1e-3, atol=1e-3)


def test_pictures_of_other_sizes_are_resized(tmp_path):
    torch.save(get_model("resnet18", weights=None).state_dict(), tmp_path / "weights.pth")
    features = resnet_features(tmp_path / "weights.pth")
    flat = np.full((1, 224, 224, 3), 90, dtype=np.uint8)
    np.testing.assert_allclose(feature_vectors(flat[:, :50, :40], features), feature_vectors(flat, features), rtol=1e-4)
    assert perceptual_distance(flat[:, :50, :40], flat[:, :50, :40], features) == pytest.approx([0])


def test_other_tensors_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"torchvision ResNet .*other\.pth holds other tensors"):
        resnet_features(tmp_path / "other.pth")
    torch.save(get_model("resnext50_32x4d", weights=None).state_dict(), tmp_path / "resnext.pth")
    with pytest.raises(ValueError, match="torchvision ResNet"):
        resnet_features(tmp_path / "resnext.pth")
