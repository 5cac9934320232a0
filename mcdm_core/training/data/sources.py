"""Sources of training batches: pictures with the conditions they are trained on."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...expert.condition import Condition

HELD_OUT = 128
"""Pairs that a dual encoder does not train on."""


class Source(Protocol):
    """Anything that yields batches."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """`size` pictures in [−1, 1], shape (B, 3, H, W), and the named condition of each."""
        ...


class Pictures(Protocol):
    """Pictures without conditions, which VAEs and networks of their latents are trained on."""

    @property
    def name(self) -> str:
        """Identifies the pictures and their size; part of a file's name."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def load(self, cache: Path) -> np.ndarray:
        """All pictures, uint8, (N, H, W, 3), made now or read from the folder `cache`."""
        ...

    def chunks(self) -> Iterator[np.ndarray]:
        """All pictures, made now, in chunks (n, H, W, 3), for encoding them without holding or keeping them."""
        ...


Conditions = Callable[[str, np.ndarray, np.random.Generator], Condition]
"""(modality, rows of a set of pictures, source of randomness) → the named condition of these rows."""


class CaptionedPictures(Protocol):
    """Anything that yields pairs of pictures and captions."""

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """Pictures uint8 (B, 3, H, W), their captions, and which pictures each caption fits: float (B, B)."""
        ...

    def contrasts(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """A batch to rank, as of `batch`, but the pictures may be chosen because they are easily confused."""
        ...


@dataclass(frozen=True)
class PictureSet:
    """Pictures in memory, or latents of them, with their conditions.

    Attributes:
        images: Pictures, uint8, (N, 3, H, W), or latents in half precision, (N, C, h, w), each channel of mean 0 and
            deviation 1.
        conditions: Conditions of the same pictures; None where there are none.
    """

    images: Tensor
    conditions: Conditions | None = None

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """`size` drawn with repetition, (B, C, H, W), pictures in [−1, 1], and the condition of each, if it has any."""
        rows = rng.integers(0, len(self.images), size)
        x0 = self.images[rows].float()
        if self.images.dtype == torch.uint8:
            x0 = x0 / 127.5 - 1
        if modality is None:
            return x0, Condition()
        assert self.conditions is not None
        return x0, self.conditions(modality, rows, rng)


@dataclass(frozen=True)
class MapConditions:
    """Maps of pictures: a condition has one map in its own channels; those of the other maps are zero, as if absent.

    Attributes:
        maps: Modality → uint8 maps, in the order of the network's channels, (N, C, H, W): one channel at the size of
            samples, or the folded channels of one at the size of pictures, see `Encoder`.
    """

    maps: Mapping[str, Tensor]

    def __call__(self, modality: str, rows: np.ndarray, rng: np.random.Generator) -> Condition:
        """The named map of these rows, and zeros in the channels of the others."""
        named = self.maps[modality][rows].float() / 255
        rest = {name: torch.zeros_like(named) for name in self.maps}
        return Condition(maps=torch.cat(list((rest | {modality: named}).values()), dim=1))


@dataclass(frozen=True)
class EmbeddingConditions:
    """Embeddings of pictures, which replace those of captions in training (paper §7.3).

    Attributes:
        embeddings: Shape (N, D).
        noise: See `DataConfig.embedding_noise`.
    """

    embeddings: Tensor
    noise: float

    @functools.cached_property
    def spread(self) -> Tensor:
        """Standard deviation of each direction of the embeddings, (D,)."""
        return self.embeddings.std(dim=0, correction=0)

    def __call__(self, modality: str, rows: np.ndarray, rng: np.random.Generator) -> Condition:
        """The embeddings of these rows, with noise."""
        return Condition(embedding=perturb(self.embeddings[rows], self.spread, self.noise, rng))


def perturb(embedding: Tensor, spread: Tensor, noise: float, rng: np.random.Generator) -> Tensor:
    """Embeddings with Gaussian noise of up to `noise` times their own spread, one amount per row.

    The idea is LAFITE's (Zhou et al., CVPR 2022): noised image embeddings replace text embeddings.

    Args:
        embedding: Shape (B, …).
        spread: Standard deviation of each direction over the data, shape of a row.
        noise: Largest amount.
        rng: Source of amounts and noise.
    """
    amount = torch.from_numpy(rng.uniform(0, noise, (len(embedding), *[1] * (embedding.ndim - 1)))).float()
    normal = torch.from_numpy(rng.standard_normal(embedding.shape, dtype=np.float32))
    noised = amount.to(embedding.device) * spread * normal.to(embedding.device)
    return embedding + noised.to(embedding)


def drop_rows(condition: Condition, fraction: float, rng: np.random.Generator) -> Condition:
    """Set a random fraction of the rows to the null condition: zeros, for classes class 0."""

    def dropped(value: Tensor) -> Tensor:
        keep = torch.from_numpy(rng.random(len(value)) >= fraction)
        return value * keep.view(-1, *[1] * (value.ndim - 1))

    return condition.mapped(dropped)


def null_rows(condition: Condition) -> Condition:
    """The null condition for every row, as `drop_rows` makes it."""
    return condition.mapped(torch.zeros_like)
