"""The refit projection predicts image embeddings."""

import numpy as np
import torch
import torch.nn.functional as F

from mcdm_core.conditions.text import TextTowerConfig
from mcdm_core.training.alignment import align_text
from mcdm_core.training.dual_encoder import DualEncoder, FolderPairs, embed_images

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
    align_text(model, pairs, batches=4, size=48)
    texts = model.text.encode([f"{name} hair" for name in COLORS])
    images = embed_images(model.image, pairs.images)
    of_color = {name: [i for i, (text,) in enumerate(pairs.captions) if text == f"{name} hair"] for name in COLORS}
    means = F.normalize(torch.stack([images[rows].mean(0) for rows in of_color.values()]), dim=1)
    assert torch.allclose((texts * means).sum(dim=1), torch.ones(3), atol=1e-3)
