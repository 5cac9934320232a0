"""Drawn landscapes, with captions as conditions, which are newly worded for every batch."""

import functools
from pathlib import Path

import numpy as np

from mcdm_core.networks.text_tower import TextTower
from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.dual_encoder.embeddings import check_embedding

from ..data.drawn_set import Drawings, size_suffix
from ..data.landscape_captions import landscape_caption
from ..data.landscapes import ATTRIBUTES, DRAWING_VERSION, IMAGE_SIZE, draw_landscape, render_landscape
from .drawn_kind import CaptionConditions, Conditioning, DrawnKind
from .landscape_tower import landscape_tower


class LandscapeKind(DrawnKind):
    """Drawn landscapes with captions."""

    name = "landscapes"
    modalities = ("text",)

    def drawings(self, data: DataConfig, size: int) -> Drawings:
        """The landscapes of a set; beside pictures "values", the index of each value in the order of `ATTRIBUTES`."""
        name = f"landscapes{DRAWING_VERSION}_{data.seed}_{data.count}{size_suffix(size, IMAGE_SIZE)}"
        seeds = range(data.seed, data.seed + data.count)
        return Drawings(name, ("images", "values"), functools.partial(_draw_landscape, size=size), seeds)

    def conditioning(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Conditioning:
        """Their captions, where text is among the modalities, by the given tower or the landscapes' own."""
        if "text" in config.data.modalities:
            tower = landscape_tower(cache, tower)
            check_embedding(config, tower.config.dim)
        else:
            tower = None

        def conditions(data: DataConfig) -> CaptionConditions | None:
            if tower is None:
                return None
            rngs = map(np.random.default_rng, self.drawings(data, IMAGE_SIZE).jobs)
            # Each names a random subset of the attributes.
            return CaptionConditions([draw_landscape(rng).attributes for rng in rngs], landscape_caption, tower)

        return Conditioning(conditions, tower)


def _draw_landscape(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    landscape = draw_landscape(np.random.default_rng(seed))
    rows = [values.index(landscape.attributes[name]) for name, values in ATTRIBUTES.items()]
    return render_landscape(landscape, size), np.array(rows)
