"""Drawn landscapes, with captions as conditions, which are newly worded for every batch."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcdm_core.expert.condition import Condition
from mcdm_core.networks.text_tower import TextTower
from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.data.kind import Prepared
from mcdm_core.training.data.sources import PictureSet, Source
from mcdm_core.training.dual_encoder.embeddings import check_embedding

from ..data.drawn_set import Drawings, channels_first, size_suffix
from ..data.landscape_captions import landscape_caption
from ..data.landscapes import ATTRIBUTES, DRAWING_VERSION, IMAGE_SIZE, draw_landscape, render_landscape
from .drawn_kind import Conditioning, DrawnKind
from .landscape_tower import landscape_tower


class LandscapeKind(DrawnKind):
    """See `DataKind`."""

    name = "landscapes"
    modalities = ("text",)

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared[Source]:
        """See `DataKind`."""
        tower = _tower(config, cache, tower)
        sets = config.data, config.data.held_out(config.report.held_out)
        training, held_out = (draw_landscapes(data, cache, tower) for data in sets)
        return Prepared(training, held_out, tower)

    def drawings(self, data: DataConfig, size: int) -> Drawings:
        """See `DrawnKind`."""
        return landscape_drawings(data, size)

    def conditioning(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Conditioning:
        """See `DrawnKind`."""
        tower = _tower(config, cache, tower)

        def conditions(data: DataConfig) -> CaptionConditions | None:
            # Drawn small, since only the values are needed.
            return None if tower is None else CaptionConditions(landscape_drawings(data).draw(cache)["values"], tower)

        return Conditioning(conditions, tower)


def _tower(config: TrainingConfig, cache: Path, given: TextTower | None) -> TextTower | None:
    """The text tower of a run whose modality is text: the given one, or one that is trained or cached."""
    if "text" not in config.data.modalities:
        return None
    tower = given or landscape_tower(cache)
    check_embedding(config, tower.config.dim)
    return tower


@dataclass(frozen=True)
class CaptionConditions:
    """Captions of landscapes; see `Conditions`. Each names a random subset of the attributes.

    Attributes:
        values: Index of each attribute's value, in the order of `ATTRIBUTES`, (N, attributes).
        tower: Embeds the captions.
    """

    values: np.ndarray
    tower: TextTower

    def __call__(self, modality: str, rows: np.ndarray, rng: np.random.Generator) -> Condition:
        """See `Conditions`."""
        captions = [landscape_caption(_attributes(self.values[row]), rng) for row in rows]
        return Condition(embedding=self.tower.encode(captions))


def draw_landscapes(config: DataConfig, cache: Path, tower: TextTower | None) -> PictureSet:
    """Draw the configured set on all cores, or read it from `cache`.

    Args:
        config: What to draw.
        cache: Folder for the drawn sets.
        tower: Embeds their captions, where the modality is text.
    """
    arrays = landscape_drawings(config).draw(cache)
    captions = None if tower is None else CaptionConditions(arrays["values"], tower)
    return PictureSet(channels_first(arrays["images"]), captions)


def landscape_drawings(data: DataConfig, size: int = IMAGE_SIZE) -> Drawings:
    """Drawings of a set of landscapes: pictures, and "values" as in `CaptionConditions`."""
    name = f"landscapes{DRAWING_VERSION}_{data.seed}_{data.count}{size_suffix(size, IMAGE_SIZE)}"
    seeds = range(data.seed, data.seed + data.count)
    return Drawings(name, ("images", "values"), functools.partial(_draw_landscape, size=size), seeds)


def _draw_landscape(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    landscape = draw_landscape(np.random.default_rng(seed))
    rows = [values.index(landscape.attributes[name]) for name, values in ATTRIBUTES.items()]
    return render_landscape(landscape, size), np.array(rows)


def _attributes(rows: np.ndarray) -> dict[str, str]:
    return {name: values[row] for (name, values), row in zip(ATTRIBUTES.items(), rows, strict=True)}
