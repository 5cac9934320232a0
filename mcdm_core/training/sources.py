"""Sources of training batches: pictures with the conditions they are trained on."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..expert.condition import Condition


class Source(Protocol):
    """Anything that yields batches."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """`size` pictures in [−1, 1], shape (B, 3, H, W), and the named condition of each."""
        ...


class Pictures(Protocol):
    """Pictures without conditions, as a VAE and networks of its latents are trained on."""

    @property
    def name(self) -> str:
        """Tells them from all others, also from the same at another size; part of a file's name."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def load(self, cache: Path) -> np.ndarray:
        """All of them, uint8, (N, H, W, 3): made now, or read from the folder `cache`."""
        ...

    def chunks(self) -> Iterator[np.ndarray]:
        """All of them, made now, in parts (n, H, W, 3): what is encoded need not be held or kept."""
        ...


@dataclass(frozen=True)
class PictureSet:
    """Pictures in memory with their conditions.

    Attributes:
        images: uint8, (N, 3, H, W).
        maps: Map modality → uint8 maps, (N, H, W), in the order of the network's channels.
        embeddings: Image embeddings, (N, D), where the modality is text.
        embedding_noise: See `DataConfig`.
    """

    images: Tensor
    maps: dict[str, Tensor]
    embeddings: Tensor | None = None
    embedding_noise: float = 0.0

    def __len__(self) -> int:
        return len(self.images)

    @functools.cached_property
    def spread(self) -> Tensor:
        """Standard deviation of each direction of the embeddings, (D,)."""
        assert self.embeddings is not None
        return self.embeddings.std(dim=0, correction=0)

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """See `Source`. A map fills its own channel; those of the other maps are zero, as if they were not given."""
        index = torch.from_numpy(rng.integers(0, len(self.images), size))
        x0 = self.images[index].float() / 127.5 - 1
        if modality is None:
            return x0, Condition()
        if modality == "text":
            assert self.embeddings is not None
            return x0, Condition(embedding=perturb(self.embeddings[index], self.spread, self.embedding_noise, rng))
        maps = torch.zeros(size, len(self.maps), *self.images.shape[2:])
        maps[:, list(self.maps).index(modality)] = self.maps[modality][index].float() / 255
        return x0, Condition(maps=maps)


def perturb(embedding: Tensor, spread: Tensor, noise: float, rng: np.random.Generator) -> Tensor:
    """Embeddings with Gaussian noise of up to `noise` times their own spread, one amount a row.

    The idea is LAFITE's (Zhou et al., CVPR 2022): noised image embeddings stand in for text embeddings.

    Args:
        embedding: Shape (B, D).
        spread: Standard deviation of each direction over the data, (D,).
        noise: Largest amount.
        rng: Source of amounts and noise.
    """
    amount = torch.from_numpy(rng.uniform(0, noise, (len(embedding), 1))).float()
    return embedding + amount * spread * torch.from_numpy(rng.standard_normal(embedding.shape, dtype=np.float32))
