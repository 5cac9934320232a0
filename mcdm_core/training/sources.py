"""Sources of training batches: pictures with the conditions they are trained on."""

import functools
import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..condition import Condition
from ..conditions.sketch import edges
from ..data.faces import DRAWING_VERSION, Frequencies, draw_face, render_face
from .config import DataConfig

log = logging.getLogger(__name__)


class Source(Protocol):
    """Anything that yields batches."""

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """`size` pictures in [−1, 1], shape (B, 3, H, W), and the named condition of each."""
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


def draw_faces(config: DataConfig, cache: Path, embed: Callable[[Tensor], Tensor] | None = None) -> PictureSet:
    """Draw the configured set on all cores, or read it from `cache`.

    Args:
        config: What to draw.
        cache: Folder for the drawn sets.
        embed: Image tower for the text modality: uint8 (N, 3, H, W) → (N, D).
    """
    maps = tuple(m for m in config.modalities if m in ("hair", "skin"))
    leading = "_".join(f"{k}-{v}" for k, v in sorted(config.leading.items())) or "uniform"
    path = cache / f"faces{DRAWING_VERSION}_{config.seed}_{config.count}_{'-'.join(maps) or 'plain'}_{leading}.npz"
    if not path.exists():
        log.info("Drawing %d faces into %s", config.count, path)
        arrays = _draw(config, maps)
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **arrays)
        partial.replace(path)  # an interrupted write must not pass for a set
    with np.load(path) as stored:
        images = torch.from_numpy(stored["images"]).permute(0, 3, 1, 2).contiguous()
        tensors = {name: torch.from_numpy(stored[name]) for name in maps}
    if "sketch" in config.modalities:
        tensors["sketch"] = torch.from_numpy(
            np.stack([255 * edges(image).astype(np.uint8) for image in images.permute(0, 2, 3, 1).numpy()])
        )
    in_order = {name: tensors[name] for name in config.modalities if name in tensors}
    return PictureSet(images, in_order, embed(images) if embed else None, config.embedding_noise)


def _draw(config: DataConfig, maps: tuple[str, ...]) -> dict[str, Any]:
    jobs = [(config.seed + i, config.leading, maps) for i in range(config.count)]
    with ProcessPoolExecutor() as pool:
        drawn = list(tqdm(pool.map(_draw_one, jobs, chunksize=64), total=len(jobs), desc="drawing", unit="face"))
    names = ("images", *maps)
    return {name: np.stack([row[i] for row in drawn]) for i, name in enumerate(names)}


def _draw_one(job: tuple[int, dict[str, str], tuple[str, ...]]) -> tuple[np.ndarray, ...]:
    seed, leading, maps = job
    face = draw_face(np.random.default_rng(seed), Frequencies(leading))
    rendering = render_face(face, maps)
    return (rendering.image, *(rendering.maps[name] for name in maps))
