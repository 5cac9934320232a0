"""The reader of mouths, trained on real renders; its accuracy on held-out renders is the ceiling for samples."""

from pathlib import Path

import numpy as np
import torch

from ..data.faces import MOUTHS
from ..training.face_pairs import NAMES, draw_pairs
from .reader import Reader, train_reader

WEIGHTS = Path(__file__).with_name("mouth_reader.safetensors")
FIRST_SEED = 7_000_000


def read_mouths(images: np.ndarray, path: Path = WEIGHTS) -> list[str]:
    """The mouth of each picture, one of `MOUTHS`; images as for `Reader`."""
    return Reader(path, {"mouth": MOUTHS}).read(images)["mouth"]


def train_mouth_reader(path: Path = WEIGHTS, steps: int = 2500, count: int = 12_000, seed: int = FIRST_SEED) -> Path:
    """Draw `count` faces, train the reader on them and write it."""
    pairs = draw_pairs(seed, count)
    labels = torch.from_numpy(pairs.values[:, [NAMES.index("mouth")]])
    return train_reader(path, pairs.images, labels, [len(MOUTHS)], steps, seed)
