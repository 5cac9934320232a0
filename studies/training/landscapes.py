"""Drawn landscapes, by their captions. No caption is stored: each batch words its captions anew."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcdm_core.expert.condition import Condition
from mcdm_core.networks.text_tower import TextTower
from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.data_kind import Prepared
from mcdm_core.training.embeddings import check_embedding

from ..data.drawn_set import Drawings, channels_first, size_suffix
from ..data.landscape_captions import landscape_caption
from ..data.landscapes import ATTRIBUTES, DRAWING_VERSION, IMAGE_SIZE, draw_landscape, render_landscape
from .drawn_kind import DrawnKind
from .landscape_tower import landscape_tower


class LandscapeKind(DrawnKind):
    """See `DataKind`."""

    name = "landscapes"
    modalities = ("text",)

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared:
        """See `DataKind`."""
        if "text" in config.data.modalities:
            tower = tower or landscape_tower(cache)
            check_embedding(config, tower.config.dim)
        else:
            tower = None
        sets = config.data, config.data.beside(config.report.held_out_count)
        training, held_out = (draw_landscapes(data, cache, tower) for data in sets)
        return Prepared(training, held_out, tower)


@dataclass(frozen=True)
class LandscapeSet:
    """Landscapes in memory.

    Attributes:
        images: uint8, (N, 3, H, W).
        values: Row of each attribute's value, in the order of `ATTRIBUTES`, (N, attributes).
        tower: Embeds their captions, where the modality is text.
    """

    images: Tensor
    values: np.ndarray
    tower: TextTower | None = None

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """See `Source`; each caption names a random subset of the attributes."""
        index = rng.integers(0, len(self.images), size)
        x0 = self.images[torch.from_numpy(index)].float() / 127.5 - 1
        if modality is None:
            return x0, Condition()
        assert self.tower is not None
        captions = [landscape_caption(_attributes(self.values[i]), rng) for i in index]
        return x0, Condition(embedding=self.tower.encode(captions))


def draw_landscapes(config: DataConfig, cache: Path, tower: TextTower | None) -> LandscapeSet:
    """Draw the configured set on all cores, or read it from `cache`."""
    arrays = landscape_drawings(config).draw(cache)
    return LandscapeSet(channels_first(arrays["images"]), arrays["values"], tower)


def landscape_drawings(data: DataConfig, size: int = IMAGE_SIZE) -> Drawings:
    """What a set of landscapes is drawn as: pictures and rows of their values, as in `LandscapeSet`."""
    name = f"landscapes{DRAWING_VERSION}_{data.seed}_{data.count}{size_suffix(size, IMAGE_SIZE)}"
    seeds = range(data.seed, data.seed + data.count)
    return Drawings(name, ("images", "values"), functools.partial(_draw_landscape, size=size), seeds)


def _draw_landscape(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    landscape = draw_landscape(np.random.default_rng(seed))
    rows = [values.index(landscape.attributes[name]) for name, values in ATTRIBUTES.items()]
    return render_landscape(landscape, size), np.array(rows)


def _attributes(rows: np.ndarray) -> dict[str, str]:
    return {name: values[row] for (name, values), row in zip(ATTRIBUTES.items(), rows, strict=True)}
