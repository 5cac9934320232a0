"""A dual encoder of drawn faces and captions that scores samples; it was not used in training any expert."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcdm_core.networks.text_tower import TextTowerConfig
from mcdm_core.pictures.files import as_bytes
from mcdm_core.training.config import DualEncoderConfig
from mcdm_core.training.dual_encoder import embed_images, load_dual_encoder, save_dual_encoder, train_dual_encoder
from mcdm_core.training.pairs import HELD_OUT

from ..data.faces import IMAGE_SIZE
from ..metrics import caption_score, shrunk
from ..training.face_pairs import FacePairs, draw_pairs
from .reader import disturb

WEIGHTS = Path(__file__).with_name("caption_reader.safetensors")
FIRST_SEED = 11_000_000


class CaptionReader:
    """The trained encoder.

    Args:
        path: Its weights.
    """

    def __init__(self, path: Path = WEIGHTS):
        self._text, self._image, _ = load_dual_encoder(path)

    @torch.no_grad()
    def score(self, images: np.ndarray, captions: Sequence[str]) -> np.ndarray:
        """How well each picture fits its caption, see `caption_score`; images uint8, (N, H, W, 3)."""
        pictures = torch.from_numpy(np.array(shrunk(images, IMAGE_SIZE))).permute(0, 3, 1, 2)
        return caption_score(embed_images(self._image, pictures).numpy(), self._text.encode(list(captions)).numpy())


@dataclass(frozen=True)
class _DisturbedPairs:
    """Pairs whose pictures are slightly blurred and noised, like samples."""

    pairs: FacePairs

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """See `CaptionedPictures`."""
        images, captions, targets = self.pairs.batch(size, rng)
        return as_bytes(disturb(images.float() / 127.5 - 1, rng)), captions, targets

    contrasts = batch
    """See `CaptionedPictures`; uniform batches, as the shipped reader was trained on."""


@functools.cache
def caption_reader() -> CaptionReader:
    """The shipped reader."""
    return CaptionReader()


def train_caption_reader(path: Path = WEIGHTS, steps: int = 3000, count: int = 8000, seed: int = FIRST_SEED) -> Path:
    """Draw `count` faces, train the encoder on them and their captions, and write it in half precision."""
    config = DualEncoderConfig(name=path.stem, steps=steps, seed=seed, count=count)
    training, held_out = (_DisturbedPairs(draw_pairs(*each)) for each in ((seed, count), (seed + count, HELD_OUT)))
    model = train_dual_encoder(config, training, held_out, TextTowerConfig())
    save_dual_encoder(path, model.half(), config)
    return path
