"""Drawn pictures at any size, and mixtures of several kinds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data import animals, faces, landscapes
from .config import DataConfig
from .drawn import draw_set
from .scenes import draw_labelled_animal, draw_valued_landscape
from .sources import draw_mapped_face
from .value_types import check_types

MIXTURE = "mixture"
"""The kind of data whose `sets` are of several kinds, each with seeds of its own; all pictures are equally frequent."""


@dataclass(frozen=True)
class Drawings:
    """A set that can be drawn.

    Attributes:
        name: Tells it from all sets that are drawn otherwise.
        arrays: Names of what is drawn of each job, the picture first.
        draw_one: Turns a job into these arrays; importable, since it runs in other processes.
        jobs: One for each picture.
    """

    name: str
    arrays: tuple[str, ...]
    draw_one: Callable[[Any], tuple[np.ndarray, ...]]
    jobs: Sequence[Any]

    def draw(self, cache: Path) -> dict[str, np.ndarray]:
        """All arrays by name, drawn on all cores or read from the folder `cache`."""
        return draw_set(cache / f"{self.name}.npz", self.arrays, self.draw_one, self.jobs)


def drawings_of(data: DataConfig, size: int) -> Drawings:
    """What a set of faces, landscapes or animals is drawn as.

    Args:
        data: One kind; of the modalities of faces, maps are drawn with the picture.
        size: Side in pixels.
    """
    seeds = range(data.seed, data.seed + data.count)
    if data.kind == "faces":
        maps = tuple(m for m in data.modalities if m in ("hair", "skin"))
        leading = "_".join(f"{k}-{v}" for k, v in sorted(data.leading.items())) or "uniform"
        return Drawings(
            f"faces{faces.DRAWING_VERSION}_{data.seed}_{data.count}_{'-'.join(maps) or 'plain'}_{leading}_{size}",
            ("images", *maps),
            partial(draw_mapped_face, size=size),
            [(seed, data.leading, maps) for seed in seeds],
        )
    version, value, draw_one = {
        "landscapes": (landscapes.DRAWING_VERSION, "values", draw_valued_landscape),
        "animals": (animals.DRAWING_VERSION, "labels", draw_labelled_animal),
    }[data.kind]
    name = f"{data.kind}{version}_{data.seed}_{data.count}_{size}"
    return Drawings(name, ("images", value), partial(draw_one, size=size), seeds)


def parts_of(data: DataConfig) -> dict[str, DataConfig]:
    """Kind → its set, of a mixture; of any other set itself alone."""
    if data.kind != MIXTURE:
        return {data.kind: data}
    return {kind: replace(data.of(kind), kind=kind, modalities=()) for kind in data.sets}


_DRAWN = ("faces", "landscapes", "animals")
_OF_SETS = {"seed", "count", "leading"}


def check_mixture(data: DataConfig) -> None:
    """Check a mixture's sets.

    Raises:
        ValueError: It is no mixture of drawn kinds, or it has modalities.
    """
    if data.kind != MIXTURE or not data.sets or (set(data.sets) - set(_DRAWN)):
        raise ValueError(
            f"Expected [data] of kind {MIXTURE!r} with a section [data.sets.KIND] for some of {', '.join(_DRAWN)}, and "
            f"got {data.kind!r} with sets of {sorted(data.sets) or 'nothing'}; correct it."
        )
    if data.modalities or data.trained:
        raise ValueError("The pictures of a mixture have no conditions in common; remove modalities and trained.")
    for kind, values in data.sets.items():
        if unknown := sorted(values.keys() - _OF_SETS):
            raise ValueError(f"[data.sets.{kind}] has unknown names {unknown}; known are {sorted(_OF_SETS)}.")
        check_types(DataConfig, values, f"[data.sets.{kind}]")
