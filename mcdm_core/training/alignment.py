"""Closes the gap between a dual encoder's two modalities.

A contrastive loss only ranks: it leaves the embeddings of captions in another part of the sphere than those of the
pictures they describe, and an expert trained on the one has never seen the other.
"""

import logging

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .dual_encoder import CaptionedPictures, DualEncoder

log = logging.getLogger(__name__)

RIDGE = 1e-4  # relative to the mean variance of the features


@torch.no_grad()
def align_text(model: DualEncoder, pairs: CaptionedPictures, batches: int = 80, size: int = 128, seed: int = 0) -> None:
    """Refit the text tower's projection, in place, so that it predicts image embeddings.

    The projection becomes the ridge regression of the embeddings of pictures on the pooled features of their captions:
    the embedding of a caption is then the linear estimate of E[image embedding | caption], normalized.

    Args:
        model: The trained towers.
        pairs: Training pairs.
        batches: Batches of pairs that the regression is fitted on.
        size: Pairs a batch.
        seed: Seed of the batches.
    """
    rng = np.random.default_rng(seed)
    features, targets = zip(*(_features(model, *pairs.batch(size, rng)[:2]) for _ in range(batches)), strict=True)
    x, y = torch.cat(features).double(), torch.cat(targets).double()
    before = _similarity(model, x, y)
    gram = x.T @ x
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    model.text.projection.weight.copy_(torch.linalg.solve(gram + ridge, x.T @ y).T)
    log.info("mean cosine of captions and their pictures: %.3f, aligned %.3f", before, _similarity(model, x, y))


def _features(model: DualEncoder, pictures: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
    embeddings = F.normalize(model.image(pictures.float() / 127.5 - 1), dim=1)
    return model.text.pool(model.text.tokens(captions)), embeddings


def _similarity(model: DualEncoder, features: Tensor, embeddings: Tensor) -> float:
    texts = F.normalize(model.text.projection(features.to(model.text.projection.weight)), dim=1)
    return (texts * embeddings).sum(dim=1).mean().item()
