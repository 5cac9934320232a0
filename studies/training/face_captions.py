"""Captions of drawn faces as conditions; they name some attributes and leave the others open."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mcdm_core.expert.condition import Condition
from mcdm_core.networks.text_tower import TextTower
from mcdm_core.training.config import DataConfig

from ..data.captions import caption
from ..data.faces import Frequencies, draw_face


@dataclass(frozen=True)
class CaptionConditions:
    """Captions of faces, newly worded for every batch; see `Conditions`.

    Attributes:
        attributes: Attribute → value of each face.
        named: The attributes that captions name.
        tower: Embeds the captions.
    """

    attributes: Sequence[dict[str, str]]
    named: tuple[str, ...]
    tower: TextTower

    @torch.no_grad()
    def __call__(self, modality: str, rows: np.ndarray, rng: np.random.Generator) -> Condition:
        """See `Conditions`."""
        texts = [caption(self.attributes[row], rng, self.named) for row in rows]
        return Condition(embedding=self.tower.encode(texts))


def caption_conditions(data: DataConfig, tower: TextTower) -> CaptionConditions:
    """Captions of the faces of a set."""
    frequencies = Frequencies(data.leading, data.share)
    seeds = range(data.seed, data.seed + data.count)
    attributes = [draw_face(np.random.default_rng(seed), frequencies).attributes for seed in seeds]
    return CaptionConditions(attributes, data.named, tower)
