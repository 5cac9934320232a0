"""Sets of drawn pictures: those held out, and separate ones for each map (`[data.sets]`)."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mcdm_core.expert.condition import Condition
from mcdm_core.training.config import DataConfig, build
from mcdm_core.training.data.sources import PictureSet

_OF_SETS = {"seed", "count", "leading"}


@dataclass(frozen=True)
class PictureSets:
    """Separate pictures for each map: as in the paper, none is seen with more than one.

    Attributes:
        sets: Modality → its pictures, each with only that map; in the order of the network's channels.
    """

    sets: dict[str, PictureSet]

    def __len__(self) -> int:
        return sum(map(len, self.sets.values()))

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """Pictures of the modality's own set, and its map in its channel; the other channels are 0."""
        assert modality is not None
        x0, own = self.sets[modality].batch(modality, size, rng)
        assert own.maps is not None
        maps = torch.zeros(size, len(self.sets), *own.maps.shape[2:])
        maps[:, list(self.sets).index(modality)] = own.maps[:, 0]
        return x0, Condition(maps=maps)


def set_of(data: DataConfig, modality: str) -> DataConfig:
    """The set of one modality, where each has its own set."""
    return replace(data, modalities=(modality,), sets={}, **data.sets[modality])


def held_out_of(data: DataConfig, count: int) -> DataConfig:
    """The set of `count` held-out drawn pictures: the next seeds, with the same frequencies."""
    own = {name: set_of(data, name) for name in data.sets}
    sets = {n: values | {"seed": own[n].seed + own[n].count, "count": count} for n, values in data.sets.items()}
    return replace(data, seed=data.seed + data.count, count=count, sets=sets)


def check_sets(data: DataConfig, held_out: int) -> None:
    """Check that sets, where there are any, fit the modalities and are disjoint.

    Args:
        data: The section.
        held_out: Number of pictures with the next seeds of each set that are held out.

    Raises:
        ValueError: They don't.
    """
    if not data.sets:
        return
    if data.kind != "faces" or "text" in data.modalities:
        raise ValueError("Only maps of drawn faces have a set for each modality; remove [data.sets].")
    if data.sets.keys() != set(data.modalities):
        raise ValueError(
            f"The modalities are {list(data.modalities)} and [data.sets] has sets for {list(data.sets)}; give each a "
            "set, or none."
        )
    for name, values in data.sets.items():
        check_set(name, values)
        if "seed" not in values:
            raise ValueError(
                f"[data.sets.{name}] has no seed, and without one of its own it would share its pictures; add seed = "
                "…, far from the other sets'."
            )
    _check_disjoint([set_of(data, name) for name in data.sets], held_out)


def check_set(name: str, values: dict[str, Any]) -> None:
    """Check the names and values in the section of one set, `[data.sets.name]`.

    Raises:
        ValueError: One is unknown, of another type or out of range.
    """
    if unknown := sorted(values.keys() - _OF_SETS):
        raise ValueError(f"[data.sets.{name}] has unknown names {unknown}; known are {sorted(_OF_SETS)}.")
    # the kind is the only value that a configuration must have, and a set has none of its own
    build(DataConfig, {"kind": "", **values}, f"[data.sets.{name}]")


def _check_disjoint(sets: list[DataConfig], held_out: int) -> None:
    """Refuse sets that share seeds: a picture would be seen with two of its maps, or held out of only one set."""
    for one, other in pairwise(sorted(sets, key=lambda data: data.seed)):
        end = one.seed + one.count + held_out
        if other.seed < end:
            raise ValueError(
                f"[data.sets.{one.modalities[0]}] takes the seeds {one.seed} to {end - 1}, the last {held_out} of them "
                f"held out, and [data.sets.{other.modalities[0]}] begins at {other.seed}; move its seed to {end} or "
                "further."
            )
