"""Batches of samples: their settings, and their files."""

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
        setting: How to sample.
        data: Held-out pictures.
        experts: Name → file.
        indices: Indices of the pictures.
        path: File of the samples.
        counted: Whether the rows of networks are written as well.
    """

    setting: Setting
    data: DataConfig
    experts: Mapping[str, Path]
    indices: range
    path: Path
    counted: bool

    @property
    def rows_path(self) -> Path:
        """File of the rows that networks were given, beside the pictures'."""
        return self.path.with_suffix(".rows.npy")

    @property
    def is_done(self) -> bool:
        """Whether all its files exist."""
        return self.path.exists() and (not self.counted or self.rows_path.exists())


class Samples(NamedTuple):
    """Sampled pictures.

    Attributes:
        images: uint8, (B, H, W, 3).
        rows: Rows that networks were given for each picture, (B,); NaN where they were not counted, as for GANs.
    """

    images: np.ndarray
    rows: np.ndarray


def keep(job: Job, samples: Samples) -> None:
    """Write a job's samples."""
    if job.counted:  # before the pictures, whose file marks an uncounted job as done
        write_array(job.rows_path, samples.rows)
    write_array(job.path, samples.images)


def batches_of(count: int) -> list[range]:
    """Indices of the pictures of each file."""
    return parts_of(range(count), BATCH)


def sampled_together(setting: Setting, indices: range) -> list[range]:
    """Indices of the pictures of each batch that networks are given, of a file's."""
    return parts_of(indices, setting.together or BATCH)


def parts_of(indices: range, size: int) -> list[range]:
    """A range in parts of `size`; the last may be smaller."""
    return [range(start, min(start + size, indices.stop)) for start in range(indices.start, indices.stop, size)]
