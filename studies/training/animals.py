"""Drawn animals, with their classes as conditions."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mcdm_core.expert.condition import Condition
from mcdm_core.networks.text_tower import TextTower
from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.data.kind import Prepared
from mcdm_core.training.data.sources import PictureSet, Source

from ..data.animals import ANIMALS, DRAWING_VERSION, draw_animal, draw_background, stand_before
from ..data.drawn_set import Drawings, channels_first, size_suffix
from ..data.landscapes import IMAGE_SIZE
from .drawn_kind import Conditioning, DrawnKind

CLASSES = ("any animal", *ANIMALS)
"""Names of the classes; class 0 is the null class, trained by condition dropout."""


class AnimalKind(DrawnKind):
    """See `DataKind`."""

    name = "animals"
    modalities = ("class",)
    classes = CLASSES

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared[Source]:
        """See `DataKind`."""
        data = config.data
        return Prepared(draw_animals(data, cache), draw_animals(data.held_out(config.report.held_out), cache))

    def drawings(self, data: DataConfig, size: int) -> Drawings:
        """See `DrawnKind`."""
        return animal_drawings(data, size)

    def conditioning(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Conditioning:
        """See `DrawnKind`."""

        def conditions(data: DataConfig) -> LabelConditions | None:
            # Drawn small, since only the labels are needed.
            return LabelConditions(animal_drawings(data).draw(cache)["labels"]) if data.modalities else None

        return Conditioning(conditions)


@dataclass(frozen=True)
class LabelConditions:
    """Classes of animals; see `Conditions`.

    Attributes:
        labels: Indices of `CLASSES`, int64, (N,).
    """

    labels: np.ndarray

    def __call__(self, modality: str, rows: np.ndarray, rng: np.random.Generator) -> Condition:
        """See `Conditions`."""
        return Condition(labels=torch.from_numpy(self.labels[rows]))


def draw_animals(config: DataConfig, cache: Path) -> PictureSet:
    """Draw the configured set on all cores, or read it from `cache`."""
    arrays = animal_drawings(config).draw(cache)
    return PictureSet(channels_first(arrays["images"]), LabelConditions(arrays["labels"]))


def animal_drawings(data: DataConfig, size: int = IMAGE_SIZE) -> Drawings:
    """Drawings of a set of animals: pictures, and indices of `CLASSES` as "labels"."""
    name = f"animals{DRAWING_VERSION}_{data.seed}_{data.count}{size_suffix(size, IMAGE_SIZE)}"
    seeds = range(data.seed, data.seed + data.count)
    return Drawings(name, ("images", "labels"), functools.partial(_draw_animal, size=size), seeds)


def _draw_animal(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    animal = draw_animal(rng)
    image = stand_before(animal, draw_background(rng, size))
    return image, np.int64(CLASSES.index(animal.name))
