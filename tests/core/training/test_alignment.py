"""The refit towers agree, and weigh equally what they agree on."""

import numpy as np
import torch

from mcdm_core.networks.text_tower import TextTowerConfig
from mcdm_core.training.dual_encoder.alignment import align, canonical_variates
from mcdm_core.training.dual_encoder.towers import DualEncoder, embed_images
from mcdm_core.training.folder.pairs import FolderPairs

COLORS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


def _pairs() -> FolderPairs:
    rng = np.random.default_rng(0)
    names = [str(rng.choice(list(COLORS))) for _ in range(48)]
    base = torch.tensor([COLORS[name] for name in names], dtype=torch.float32)[:, :, None, None]
    noise = torch.from_numpy(rng.normal(0, 5, (48, 3, 64, 64))).float()
    return FolderPairs((base + noise).clamp(0, 255).to(torch.uint8), [[f"{name} hair"] for name in names])


def test_captions_come_to_lie_beside_their_pictures():
    torch.manual_seed(0)
    pairs = _pairs()
    model = DualEncoder(TextTowerConfig(width=32, heads=2, layers=1, dim=16))
    align(model, pairs, batches=4, steps=20, size=48)
    texts = model.text.encode([f"{name} hair" for name in COLORS])
    images = embed_images(model.image, pairs.images)
    of_color = [[i for i, captions in enumerate(pairs.captions) if captions == [f"{name} hair"]] for name in COLORS]
    means = torch.stack([images[rows].mean(0) for rows in of_color])
    torch.testing.assert_close(texts, means, atol=0.2, rtol=0)
    assert torch.cdist(texts, texts)[~torch.eye(3, dtype=torch.bool)].min() > 1


def test_what_is_told_counts_however_faint_and_what_is_not_fades():
    generator = torch.Generator().manual_seed(0)
    told, untold = (torch.randn(5000, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    x = torch.cat([told, torch.randn(5000, 2, generator=generator, dtype=torch.float64)], dim=1)
    # The second of the told things shows a hundred times fainter than the first.
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    y = torch.cat([told * torch.tensor([1.0, 0.01]), untold], dim=1) @ rotation
    center, directions, correlations = canonical_variates(x, y)
    variates = (y - center) @ directions
    covariance = variates.T @ variates / len(x)
    assert correlations[1] > 0.3  # the ridge keeps the faint one from 1
    torch.testing.assert_close(correlations[0], torch.tensor(1.0).double(), atol=0.01, rtol=0)
    assert correlations[2:].max() < 0.1
    torch.testing.assert_close(covariance.diagonal()[0].sqrt(), correlations[0], atol=0.01, rtol=0)
    assert (covariance - covariance.diagonal().diag()).abs().max() < 0.01
