"""Drawn animals, by their class."""

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

from ..data.animals import ANIMALS, DRAWING_VERSION, draw_animal, draw_background, stand_before
from ..data.drawn_set import Drawings, channels_first, size_suffix
from ..data.landscapes import IMAGE_SIZE
from .drawn_kind import DrawnKind

CLASSES = ("any animal", *ANIMALS)
"""Names of the classes; class 0 is the null class, which condition dropout trains."""


class AnimalKind(DrawnKind):
    """See `DataKind`."""

    name = "animals"
    modalities = ("class",)
    classes = CLASSES

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared:
        """See `DataKind`."""
        data = config.data
        return Prepared(draw_animals(data, cache), draw_animals(data.beside(config.report.held_out_count), cache))


@dataclass(frozen=True)
class AnimalSet:
    """Animals in memory.

    Attributes:
        images: uint8, (N, 3, H, W).
        labels: Row of `CLASSES`, int64, (N,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """See `Source`."""
        index = torch.from_numpy(rng.integers(0, len(self.images), size))
        condition = Condition() if modality is None else Condition(labels=self.labels[index])
        return self.images[index].float() / 127.5 - 1, condition


def draw_animals(config: DataConfig, cache: Path) -> AnimalSet:
    """Draw the configured set on all cores, or read it from `cache`."""
    arrays = animal_drawings(config).draw(cache)
    return AnimalSet(channels_first(arrays["images"]), torch.from_numpy(arrays["labels"]))


def animal_drawings(data: DataConfig, size: int = IMAGE_SIZE) -> Drawings:
    """What a set of animals is drawn as: pictures and rows of `CLASSES`, "labels"."""
    name = f"animals{DRAWING_VERSION}_{data.seed}_{data.count}{size_suffix(size, IMAGE_SIZE)}"
    seeds = range(data.seed, data.seed + data.count)
    return Drawings(name, ("images", "labels"), functools.partial(_draw_animal, size=size), seeds)


def _draw_animal(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    animal = draw_animal(rng)
    image = stand_before(animal, draw_background(rng, size))
    return image, np.int64(CLASSES.index(animal.name))
