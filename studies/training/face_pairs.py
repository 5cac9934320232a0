"""Drawn faces with captions, for dual encoders."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..data.captions import caption
from ..data.drawn_set import channels_first
from ..data.faces import ATTRIBUTES, BACKGROUNDS, HAIR_COLORS, draw_face, render_face

NAMES = tuple(ATTRIBUTES)
_COLORED = [NAMES.index("hair_color"), NAMES.index("background")]
_SHARED = [name for name in HAIR_COLORS if name in BACKGROUNDS]
# Row: a colour that hair and backgrounds share; columns: its index among hair colours and among backgrounds.
_AS_COLORED = np.array([[ATTRIBUTES[NAMES[i]].index(name) for i in _COLORED] for name in _SHARED])
# The mouth covers only a few pixels and is learned last, so captions name it most often.
_FIRST_NAMED = [0.4 if name == "mouth" else 0.6 / (len(NAMES) - 1) for name in NAMES]


@dataclass(frozen=True)
class FacePairs:
    """Drawn faces with the attributes that captions are written from.

    Attributes:
        images: uint8, (N, 3, H, W).
        values: Index of each attribute's value, in the order of `NAMES`, (N, len(NAMES)).
    """

    images: Tensor
    values: np.ndarray

    def describe(self, index: int, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        """A caption of one picture and which attributes it names (boolean, in the order of `NAMES`)."""
        named = rng.random(len(NAMES)) < rng.uniform(0.0, 1.0)
        named[rng.choice(len(NAMES), p=_FIRST_NAMED)] = True
        attributes = {n: ATTRIBUTES[n][v] for n, v in zip(NAMES, self.values[index], strict=True)}
        subset = [n for n, flag in zip(NAMES, named, strict=True) if flag]
        return caption(attributes, rng, subset), named

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """Faces drawn evenly, and captions. The targets are exact: a caption fits all pictures that it is true of."""
        return self._batch(rng.integers(0, len(self.images), size), rng)

    def contrasts(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """Faces that are easily confused: a quarter have the two colours of another quarter, exchanged.

        Distinguishing blue hair on green from green hair on blue takes reading which word belongs to which. In uniform
        batches such pairs are so rare that both towers learn which colours there are, but not where.
        """
        first = rng.choice(self._exchangeable, size // 4) if len(self._exchangeable) else self._exchangeable
        rest = rng.integers(0, len(self.images), size - 2 * len(first))
        return self._batch(np.concatenate([first, self._exchanged(first, rng), rest]), rng)

    @cached_property
    def _exchangeable(self) -> np.ndarray:
        """Faces whose hair and background have two of the colours that both can have."""
        hair, background = (np.isin(self.values[:, i], _AS_COLORED[:, k]) for k, i in enumerate(_COLORED))
        return np.flatnonzero(hair & background & (self._shared(0) != self._shared(1)))

    def _shared(self, part: int) -> np.ndarray:
        """Index of each face's hair (0) or background (1) among the shared colours; arbitrary for other colours."""
        return (self.values[:, _COLORED[part], None] == _AS_COLORED[:, part]).argmax(1)

    def _exchanged(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each face, one of the most similar faces among those that have its two colours exchanged."""
        wanted = self.values[index]
        wanted[:, _COLORED[0]] = _AS_COLORED[self._shared(1)[index], 0]
        wanted[:, _COLORED[1]] = _AS_COLORED[self._shared(0)[index], 1]
        equal = self.values[None] == wanted[:, None]
        likeness = equal.sum(2) + len(NAMES) * equal[..., _COLORED].all(2)
        return (likeness + rng.random(likeness.shape)).argmax(1)

    def _batch(self, index: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        captions, named = zip(*(self.describe(i, rng) for i in index), strict=True)
        return self.images[torch.from_numpy(index)], list(captions), matches(self.values[index], np.stack(named))


def draw_pairs(seed: int, count: int) -> FacePairs:
    """Draw `count` uniform faces, seeds `seed` and up."""
    with ProcessPoolExecutor() as pool:
        seeds = range(seed, seed + count)
        drawn = list(tqdm(pool.map(_draw_pair, seeds, chunksize=64), total=count, desc="drawing", unit="face"))
    images = channels_first(np.stack([image for image, _ in drawn]))
    return FacePairs(images, np.stack([values for _, values in drawn]))


def _draw_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    face = draw_face(np.random.default_rng(seed))
    values = [ATTRIBUTES[name].index(face.attributes[name]) for name in NAMES]
    return render_face(face).image, np.array(values)


def matches(values: np.ndarray, named: np.ndarray) -> Tensor:
    """Whether picture j shows everything that caption i names; float, (captions, pictures).

    Args:
        values: Attribute values of the pictures, caption i having been written for picture i, (B, A).
        named: Which attributes each caption names, (B, A).
    """
    equal = values[:, None, :] == values[None, :, :]
    return torch.from_numpy((equal | ~named[:, None, :]).all(axis=2)).float()
