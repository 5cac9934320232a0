"""Sources of training batches: pictures with the conditions they are trained on."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..condition import Condition
from ..conditions.sketch import edges
from ..data.faces import DRAWING_VERSION, IMAGE_SIZE, Frequencies, draw_face, render_face
from .config import DataConfig
from .drawn import draw_set


class Source(Protocol):
    """Anything that yields batches."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

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


@dataclass(frozen=True)
class PictureSets:
    """Pictures of its own for each map.

    Attributes:
        sets: Modality → its pictures, each with that map only; in the order of the network's channels.
    """

    sets: dict[str, PictureSet]

    def __len__(self) -> int:
        return sum(map(len, self.sets.values()))

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """See `Source`."""
        assert modality is not None
        x0, own = self.sets[modality].batch(modality, size, rng)
        assert own.maps is not None
        maps = torch.zeros(size, len(self.sets), *own.maps.shape[2:])
        maps[:, list(self.sets).index(modality)] = own.maps[:, 0]
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


def draw_faces(config: DataConfig, cache: Path, embed: Callable[[Tensor], Tensor] | None = None) -> Source:
    """Draw the configured set on all cores, or read it from `cache`.

    Args:
        config: What to draw.
        cache: Folder for the drawn sets.
        embed: Image tower for the text modality: uint8 (N, 3, H, W) → (N, D).
    """
    if config.sets:
        return PictureSets({name: _draw_faces(config.of(name), cache, None) for name in config.modalities})
    return _draw_faces(config, cache, embed)


def _draw_faces(config: DataConfig, cache: Path, embed: Callable[[Tensor], Tensor] | None) -> PictureSet:
    maps = tuple(m for m in config.modalities if m in ("hair", "skin"))
    leading = "_".join(f"{k}-{v}" for k, v in sorted(config.leading.items())) or "uniform"
    path = cache / f"faces{DRAWING_VERSION}_{config.seed}_{config.count}_{'-'.join(maps) or 'plain'}_{leading}.npz"
    jobs = [(config.seed + i, config.leading, maps) for i in range(config.count)]
    arrays = draw_set(path, ("images", *maps), draw_mapped_face, jobs)
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous()
    tensors = {name: torch.from_numpy(arrays[name]) for name in maps}
    if "sketch" in config.modalities:
        tensors["sketch"] = torch.from_numpy(
            np.stack([255 * edges(image).astype(np.uint8) for image in images.permute(0, 2, 3, 1).numpy()])
        )
    in_order = {name: tensors[name] for name in config.modalities if name in tensors}
    return PictureSet(images, in_order, embed(images) if embed else None, config.embedding_noise)


def draw_mapped_face(
    job: tuple[int, dict[str, str], tuple[str, ...]], size: int = IMAGE_SIZE
) -> tuple[np.ndarray, ...]:
    """A face and maps of it, uint8, (size, size, 3) and (size, size) each.

    Args:
        job: Seed, leading values as in `DataConfig`, and names of the maps.
        size: Side in pixels.
    """
    seed, leading, maps = job
    face = draw_face(np.random.default_rng(seed), Frequencies(leading))
    rendering = render_face(face, maps, size)
    return (rendering.image, *(rendering.maps[name] for name in maps))
