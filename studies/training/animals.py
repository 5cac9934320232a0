"""Drawn animals, with their classes as conditions."""

import functools
from pathlib import Path

import numpy as np
import torch

from mcdm_core.expert.condition import Condition
from mcdm_core.networks.text_tower import TextTower
from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.data.sources import Conditions

from ..data.animals import ANIMALS, DRAWING_VERSION, draw_animal, draw_background, stand_before
from ..data.drawn_set import Drawings, size_suffix
from ..data.landscapes import IMAGE_SIZE
from .drawn_kind import Conditioning, DrawnKind

CLASSES = ("any animal", *ANIMALS)
"""Names of the classes; class 0 is the null class, trained by condition dropout."""


class AnimalKind(DrawnKind):
    """Drawn animals with their class."""

    name = "animals"
    modalities = ("class",)
    classes = CLASSES

    def drawings(self, data: DataConfig, size: int) -> Drawings:
        """The animals of a set, drawn at this size."""
        name = f"animals{DRAWING_VERSION}_{data.seed}_{data.count}{size_suffix(size, IMAGE_SIZE)}"
        seeds = range(data.seed, data.seed + data.count)
        return Drawings(name, ("images",), functools.partial(_draw_animal, size=size), seeds)

    def conditioning(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Conditioning:
        """Their classes; no text is read."""

        def conditions(data: DataConfig) -> Conditions | None:
            if not data.modalities:
                return None
            animals = (draw_animal(np.random.default_rng(seed)) for seed in self.drawings(data, IMAGE_SIZE).jobs)
            labels = torch.tensor([CLASSES.index(animal.name) for animal in animals])
            return lambda modality, rows, rng: Condition(labels=labels[rows])

        return Conditioning(conditions)


def _draw_animal(seed: int, size: int) -> tuple[np.ndarray]:
    rng = np.random.default_rng(seed)
    animal = draw_animal(rng)
    return (stand_before(animal, draw_background(rng, size)),)
