"""Batches of samples: what each is of, and where it lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcdm_core.system.formats import write_array

from .config import BATCH, DataConfig, Setting


@dataclass(frozen=True)
class Job:
    """One batch.

    Attributes:
        setting: What is sampled.
        data: Held-out pictures.
        experts: Name → file.
        indices: Of the pictures.
        path: Where the samples are kept.
        counted: Whether their rows are kept as well.
    """

    setting: Setting
    data: DataConfig
    experts: Mapping[str, Path]
    indices: range
    path: Path
    counted: bool

    @property
    def rows_path(self) -> Path:
        """Where the rows that networks were asked lie, beside the pictures."""
        return self.path.with_suffix(".rows.npy")

    @property
    def is_done(self) -> bool:
        """Whether all that it writes is there."""
        return self.path.exists() and (not self.counted or self.rows_path.exists())


class Samples(NamedTuple):
    """What was sampled.

    Attributes:
        images: uint8, (B, H, W, 3).
        rows: Rows that networks were asked for each picture, (B,); NaN where they were not counted, as for GANs.
    """

    images: np.ndarray
    rows: np.ndarray


def keep(job: Job, samples: Samples) -> None:
    """Write what was drawn."""
    if job.counted:  # before the pictures, which say that the job is done where nobody asks for its rows
        write_array(job.rows_path, samples.rows)
    write_array(job.path, samples.images)


def batches_of(count: int) -> list[range]:
    """Indices of the pictures of each file."""
    return parts_of(range(count), BATCH)


def parts_of(indices: range, size: int) -> list[range]:
    """A range in pieces of a size, the last of what is left."""
    return [range(start, min(start + size, indices.stop)) for start in range(indices.start, indices.stop, size)]
