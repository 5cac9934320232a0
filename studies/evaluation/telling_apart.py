"""How well a classifier tells samples from drawings, by crops."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mcdm_core.networks.image_encoder import ImageEncoder

from ..data.drawn_set import channels_first
from ..metrics import Figure
from .reader import fit

TELLING_APART = "telling apart"
"""Name of the measure."""
CROP = 64  # pixels
_WIDTH = 16
_BATCH = 32  # crops of each set
_STEPS = 500


def telling_apart(drawn: np.ndarray, sampled: np.ndarray, steps: int = _STEPS, seed: int = 0) -> Figure:
    """The share of crops that a small classifier takes for what they aren't: 0.5 where it can't tell at all.

    It is trained twice, on crops of every other picture, and asked of all crops of the rest; so the error depends on
    how many pictures there are, and only rows of as many can be compared.

    Args:
        drawn: uint8, (N, S, S, 3), S a multiple of 64; decoded encodings, where samples are decoded latents.
        sampled: Likewise, of the same conditions.
        steps: Of each training.
        seed: Of initialization and crops.

    Returns:
        The error, 0…1, with its interval over pairs of pictures.

    Raises:
        ValueError: Fewer than two pictures.
    """
    if len(sampled) < 2:
        raise ValueError("Two halves are told apart in turn, so take two pictures or more.")
    sets = [channels_first(images) for images in (drawn[: len(sampled)], sampled)]
    errors = np.empty(len(sampled))
    for half in range(2):
        network = _trained([images[1 - half :: 2] for images in sets], steps, seed + half)
        errors[half::2] = np.mean([_errors(network, images[half::2], kind) for kind, images in enumerate(sets)], axis=0)
    return Figure.of(errors)


def _trained(sets: list[Tensor], steps: int, seed: int) -> ImageEncoder:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = ImageEncoder(2, _WIDTH)
    kinds = torch.arange(2).repeat_interleave(_BATCH)

    def loss() -> Tensor:
        crops = torch.cat([_random_crops(images, rng) for images in sets])
        return F.cross_entropy(network(crops), kinds, label_smoothing=0.05)

    fit(network, loss, steps, "telling apart")
    return network.eval()


def _random_crops(images: Tensor, rng: np.random.Generator) -> Tensor:
    most = images.shape[-1] - CROP + 1
    places = zip(rng.integers(0, len(images), _BATCH), *rng.integers(0, most, (2, _BATCH)), strict=True)
    crops = torch.stack([images[i, :, y : y + CROP, x : x + CROP] for i, y, x in places])
    return _in_range(crops.flip(-1) if rng.random() < 0.5 else crops)


@torch.no_grad()
def _errors(network: ImageEncoder, images: Tensor, kind: int) -> np.ndarray:
    """For each picture, the share of its crops that are taken for the other kind."""
    crops = images.unfold(2, CROP, CROP).unfold(3, CROP, CROP)  # (N, 3, rows, columns, CROP, CROP)
    crops = crops.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
    return np.array([(network(_in_range(each)).argmax(dim=1) != kind).float().mean().item() for each in crops])


def _in_range(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1
