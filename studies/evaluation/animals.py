"""The reader of animals, a classifier.

It is trained on its own seeds, in front of landscapes that no animal expert has seen, and also on the drawings that are
held out from the experts.
"""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..data.animals import (
    ANIMALS,
    HELD_OUT_DRAWINGS,
    TRAINING_DRAWINGS,
    Animal,
    draw_animal,
    draw_background,
    stand_before,
)
from ..data.drawn_set import channels_first
from ..data.landscapes import IMAGE_SIZE, draw_landscape, render_landscape
from .reader import Reader, train_reader

WEIGHTS = Path(__file__).with_name("animal_reader.safetensors")
FIRST_SEED = 33_000_000


def read_animals(images: np.ndarray, path: Path = WEIGHTS) -> list[str]:
    """The animal in each picture, one of `ANIMALS`; images as for `Reader`."""
    return Reader(path, {"animal": ANIMALS}).read(images)["animal"]


def train_animal_reader(path: Path = WEIGHTS, steps: int = 1500, count: int = 4000, seed: int = FIRST_SEED) -> Path:
    """Draw `count` animals, train the reader on them and write it."""
    images, labels = draw_labelled(seed, count)
    return train_reader(path, channels_first(images), torch.from_numpy(labels)[:, None], [len(ANIMALS)], steps, seed)


def draw_labelled(first_seed: int, count: int, size: int = IMAGE_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Animals, alternately in front of landscapes and of other scenery.

    Returns:
        uint8 pictures, (count, size, size, 3), and the row of each animal in `ANIMALS`, (count,).
    """
    images, labels = [], []
    for seed in tqdm(range(first_seed, first_seed + count), desc="drawing", unit="picture"):
        animal, scenery = animal_and_scenery(np.random.default_rng(seed), seed % 2 == 0, size)
        images.append(stand_before(animal, scenery))
        labels.append(ANIMALS.index(animal.name))
    return np.stack(images), np.array(labels)


def animal_and_scenery(rng: np.random.Generator, landscape: bool, size: int) -> tuple[Animal, np.ndarray]:
    """Any animal of all drawings, and a landscape or other scenery to stand before, uint8, (size, size, 3)."""
    animal = draw_animal(rng, drawings=TRAINING_DRAWINGS + HELD_OUT_DRAWINGS)
    if landscape:
        return animal, render_landscape(draw_landscape(rng, object_share=0), size)
    return animal, draw_background(rng, size)
