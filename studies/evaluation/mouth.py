"""The reader of mouths, trained on real renders; its accuracy on held-out renders is the ceiling for samples."""

from pathlib import Path

import torch

from ..data.faces import MOUTHS
from ..training.face_pairs import NAMES, draw_pairs
from .reader import Reader, train_reader

WEIGHTS = Path(__file__).with_name("mouth_reader.safetensors")
FIRST_SEED = 7_000_000


def mouth_reader(path: Path = WEIGHTS) -> Reader:
    """The reader that tells `MOUTHS` apart."""
    return Reader(path, MOUTHS)


def train_mouth_reader(path: Path = WEIGHTS, steps: int = 2500, count: int = 12_000, seed: int = FIRST_SEED) -> Path:
    """Draw `count` faces, train the reader on them and write it."""
    pairs = draw_pairs(seed, count)
    labels = torch.from_numpy(pairs.values[:, [NAMES.index("mouth")]])
    return train_reader(path, pairs.images, labels, [len(MOUTHS)], steps, seed)
