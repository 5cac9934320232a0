"""Pictures with captions, which dual encoders are trained on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.sources import HELD_OUT
from .reading import CAPTIONS, IMAGES, list_files, load_pictures, pair_files, split_stems


@dataclass(frozen=True)
class FolderPairs:
    """Pictures with one or more captions each.

    Attributes:
        images: uint8, (N, 3, H, W).
        captions: Captions of each picture.
    """

    images: Tensor
    captions: list[list[str]]

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """Pairs drawn without repetition; a caption fits its own picture, and all pictures with the same caption."""
        index = rng.choice(len(self.images), min(size, len(self.images)), replace=False)
        texts = [str(rng.choice(self.captions[i])) for i in index]
        targets = torch.tensor([[text in self.captions[j] for j in index] for text in texts]).float()
        return self.images[torch.from_numpy(index)], texts, targets

    contrasts = batch
    """Pairs drawn without repetition; a caption fits its own picture, and all pictures with the same caption."""


def read_pairs(folder: Path, size: int) -> tuple[FolderPairs, FolderPairs]:
    """Training and held-out pairs of a folder: `images/NAME.png`, and `captions/NAME.txt` with one caption per line.

    Raises:
        ValueError: A file is missing, has no counterpart, or cannot be used.
    """
    pictures = list_files(folder / IMAGES)
    texts = dict(zip(pictures, pair_files(folder, CAPTIONS, list(pictures), frozenset({".txt"})), strict=True))

    def read(stems: list[str]) -> FolderPairs:
        return FolderPairs(load_pictures([pictures[s] for s in stems], size), [_read_captions(texts[s]) for s in stems])

    training, held_out = split_stems(list(pictures), HELD_OUT)
    return read(training), read(held_out)


def _read_captions(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text; save it as UTF-8.") from error
    if not any(lines):
        raise ValueError(f"{path} has no caption; write one, or remove it together with its picture.")
    return [line for line in lines if line]
