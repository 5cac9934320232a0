"""Drawn faces with captions, for dual encoders."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..data.captions import caption
from ..data.drawn_set import channels_first
from ..data.faces import ATTRIBUTES, draw_face, render_face

NAMES = tuple(ATTRIBUTES)
# The mouth covers a few pixels and is learned last: captions name it more often than anything else.
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
        """See `CaptionedPictures`. Captions are exact, so the targets are: a caption fits all that it is true of."""
        index = rng.integers(0, len(self.images), size)
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
