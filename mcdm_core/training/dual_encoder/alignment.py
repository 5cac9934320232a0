"""Aligns a dual encoder's two modalities in one space that suits conditioning.

A contrastive loss only ranks: it leaves the embeddings of captions in another part of the sphere than those of the
pictures they describe, and the features that distinguish pictures may be a small part of an embedding. Canonical
correlation analysis (Hotelling, 1936) finds the directions on which captions and pictures agree, and weights each by
their correlation, not by the area it covers in pictures: the shape of a mouth counts like a background's colour.
"""

import logging

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..data.sources import CaptionedPictures
from .towers import DualEncoder, embed_images, one_cycle

log = logging.getLogger(__name__)

RIDGE = 1e-3  # relative to the mean variance of the features


def align(
    model: DualEncoder, pairs: CaptionedPictures, batches: int = 120, steps: int = 4000, size: int = 128, seed: int = 0
) -> None:
    """Refit the image tower's last linear map and the text tower, in place.

    A picture's embedding becomes its canonical variates: uncorrelated, of mean zero over the pictures, each with a
    standard deviation equal to its correlation with the captions, so features that no caption mentions shrink to 0. A
    caption's embedding becomes an estimate of E[picture's embedding | caption], first a linear one, then the text
    tower's best. It is longer for more specific captions; zero, the null condition, is the estimate without a caption.

    Args:
        model: The trained towers.
        pairs: Training pairs.
        batches: Batches of pairs that the linear maps are fitted on.
        steps: Optimizer steps of the text tower.
        size: Pairs a batch.
        seed: Seed of the batches.
    """
    rng = np.random.default_rng(seed)
    _fit_linear_maps(model, [pairs.batch(size, rng)[:2] for _ in range(batches)])
    _fit_text_tower(model, pairs, steps, size, rng)


@torch.no_grad()
def _fit_linear_maps(model: DualEncoder, batches: list[tuple[Tensor, list[str]]]) -> None:
    features, outputs = zip(*(_features(model, *batch) for batch in batches), strict=True)
    x, y = torch.cat(features).double(), torch.cat(outputs).double()
    center, directions, correlations = canonical_variates(x, y)
    _compose(model.image.head[-1], directions.T, -center @ directions)
    model.text.projection.weight.copy_(torch.linalg.solve(_gram(x), x.T @ (y - center) @ directions).T)
    log.info("captions and pictures agree on %.1f directions", correlations.square().sum().item())


def _fit_text_tower(
    model: DualEncoder, pairs: CaptionedPictures, steps: int, size: int, rng: np.random.Generator
) -> None:
    """Fit by least squares, whose minimum is the conditional mean."""
    optimizer = torch.optim.AdamW(model.text.parameters(), lr=5e-4, weight_decay=0.01)
    rates = one_cycle(optimizer, steps)
    for step in tqdm(range(1, steps + 1), desc="alignment", unit="step"):
        pictures, captions, _ = pairs.batch(size, rng)
        with torch.no_grad():
            target = embed_images(model.image, pictures)
        texts = model.text.encode(captions)
        loss = (texts - target).square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if step % 100 == 0:
            cosine = nn.functional.cosine_similarity(texts.detach(), target).mean().item()
            log.info("alignment step %d: squared distance %.3f, cosine %.3f", step, loss.item(), cosine)


def canonical_variates(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Directions of y that are correlated with x.

    Args:
        x: Features, (N, D).
        y: Features of the same N samples, (N, E), E ≤ D.

    Returns:
        The mean of y, (E,); the map from centred y to its canonical variates, each scaled by its correlation, (E, E);
        and the correlations in descending order, (E,).
    """
    center = y.mean(0)
    whiten_x, whiten_y = _inverse_root(x - x.mean(0)), _inverse_root(y - center)
    cross = whiten_y @ (y - center).T @ (x - x.mean(0)) @ whiten_x / len(x)
    rotation, correlations, _ = torch.linalg.svd(cross, full_matrices=False)
    return center, whiten_y @ rotation * correlations, correlations


def _gram(values: Tensor) -> Tensor:
    """X^T X with a ridge."""
    gram = values.T @ values
    return gram + RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)


def _inverse_root(centred: Tensor) -> Tensor:
    """Symmetric inverse square root of the covariance."""
    values, vectors = torch.linalg.eigh(_gram(centred) / len(centred))
    return vectors * values.rsqrt() @ vectors.T


def _compose(layer: nn.Module, matrix: Tensor, offset: Tensor) -> None:
    """Fold an affine map of a linear layer's output into the layer."""
    assert isinstance(layer, nn.Linear)
    weight, bias = matrix @ layer.weight.double(), matrix @ layer.bias.double() + offset
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def _features(model: DualEncoder, pictures: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
    return model.text.pool(model.text.tokens(captions)), model.image(pictures.float() / 127.5 - 1)
