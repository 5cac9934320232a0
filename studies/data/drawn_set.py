"""Drawn training sets, which are cached on disk."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mcdm_core.system.writer import make_folder, writing

log = logging.getLogger(__name__)

CHUNK = 256  # pictures in memory where a set is not cached


@dataclass(frozen=True)
class Drawings:
    """A set that can be drawn; see `Pictures`.

    Attributes:
        name: Identifies the set and how it is drawn.
        arrays: Names of the arrays drawn for each job, the picture first: "images", uint8, (size, size, 3).
        draw_one: Draws these arrays of a job; it has to be importable, since it runs in other processes.
        jobs: Arguments of `draw_one`, one for each picture.
    """

    name: str
    arrays: tuple[str, ...]
    draw_one: Callable[[Any], tuple[np.ndarray, ...]]
    jobs: Sequence[Any]

    def __len__(self) -> int:
        return len(self.jobs)

    def draw(self, cache: Path) -> dict[str, np.ndarray]:
        """Draw every job on all cores, or read the arrays that an earlier run has drawn into the folder `cache`.

        Returns:
            Name → the arrays of all jobs, stacked.
        """
        path = cache / f"{self.name}.npz"
        if not path.exists():
            log.info("Drawing %d pictures into %s", len(self), path)
            with ProcessPoolExecutor() as pool:
                drawing = pool.map(self.draw_one, self.jobs, chunksize=64)
                drawn = list(tqdm(drawing, total=len(self), desc="drawing", unit="picture"))
            stacked: dict[str, Any] = {name: np.stack([row[i] for row in drawn]) for i, name in enumerate(self.arrays)}
            make_folder(path.parent)
            with writing(path) as file:
                np.savez(file, **stacked)
        with np.load(path) as stored:
            return {name: stored[name] for name in self.arrays}

    def load(self, cache: Path) -> np.ndarray:
        """All pictures, uint8, (N, H, W, 3), drawn now or read from the folder `cache`."""
        return self.draw(cache)["images"]

    def chunks(self) -> Iterator[np.ndarray]:
        """All pictures, drawn now, in chunks (n, H, W, 3)."""
        with ProcessPoolExecutor() as pool:
            for first in range(0, len(self), CHUNK):
                drawn = pool.map(self.draw_one, self.jobs[first : first + CHUNK], chunksize=16)
                yield np.stack([arrays[0] for arrays in drawn])


def size_suffix(size: int, usual: int) -> str:
    """Suffix of a set's name for its size; empty at the usual size of its kind."""
    return "" if size == usual else f"_{size}"


def channels_first(images: np.ndarray) -> Tensor:
    """Pictures (N, H, W, 3) as a tensor (N, 3, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
