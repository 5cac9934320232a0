"""Trains the feature network of drawn pictures, see `DrawingFeatures`."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from mcdm_core.system.formats import write_tensors

from ..data import faces, landscapes
from ..data.animals import ANIMALS, HELD_OUT_DRAWINGS, TRAINING_DRAWINGS, draw_animal, draw_background, stand_before
from ..data.drawn_set import channels_first
from ..metrics.features import WEIGHTS, DrawingFeatures
from .reader import BATCH, fit

FIRST_FACE_SEED = 8_000_000
FIRST_SCENE_SEED = 38_000_000
UNKNOWN = -1  # label of an attribute that a picture does not have

BLURS = (0.0, 0.5, 1.0)
"""Shares at which a copy averaged over 3 × 3 pixels is mixed in."""
NOISES = (0.0, 0.05, 0.12)
"""Standard deviations of the noise added to pictures in [−1, 1]."""

DRAWN_CLASSES = {name: len(values) for name, values in (faces.ATTRIBUTES | landscapes.ATTRIBUTES).items()} | {
    "animal": len(ANIMALS)
}
CLASSES = DRAWN_CLASSES | {"blur": len(BLURS), "noise": len(NOISES)}


def train_features(path: Path = WEIGHTS, steps: int = 2000, count: int = 4000, seed: int = 8) -> Path:
    """Draw `count` faces and as many scenes, train the network on them, and write it in half precision."""
    drawn = [draw_labelled_faces(FIRST_FACE_SEED, count), draw_labelled_scenes(FIRST_SCENE_SEED, count)]
    images = channels_first(np.concatenate([pictures for pictures, _ in drawn]))
    labels = torch.from_numpy(np.concatenate([values for _, values in drawn]))
    network = fit_features(images, labels, steps, seed)
    write_tensors(path, {key: value.half() for key, value in network.state_dict().items()}, {})
    return path


def fit_features(images: Tensor, labels: Tensor, steps: int, seed: int) -> DrawingFeatures:
    """Train a network to tell all attributes, and how much each picture was blurred and noised.

    Args:
        images: uint8, (N, 3, H, W).
        labels: Index of each attribute's value, in the order of `DRAWN_CLASSES`, or `UNKNOWN`, int64,
            (N, number of attributes).
        steps: Optimizer steps, of 64 pictures each.
        seed: Seed of initialization and batches.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = DrawingFeatures(CLASSES)

    def loss() -> Tensor:
        index = torch.from_numpy(rng.integers(0, len(images), BATCH))
        pictures, disturbance = disturb(images[index].float() / 127.5 - 1, rng)
        logits = network.logits(pictures)
        wanted = torch.cat([labels[index], disturbance], dim=1)
        losses = [
            F.cross_entropy(logits[name], wanted[:, column], ignore_index=UNKNOWN, reduction="sum")
            for column, name in enumerate(CLASSES)
        ]
        return torch.stack(losses).sum() / BATCH

    fit(network, loss, steps, "features")
    return network.eval()


def disturb(pictures: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Blur and noise each picture by its own levels.

    Returns:
        The pictures, and the indices of their levels in `BLURS` and `NOISES`, int64, (B, 2).
    """
    levels = rng.integers(0, [len(BLURS), len(NOISES)], (len(pictures), 2))
    blur, noise = (
        torch.tensor(np.array(values, dtype=np.float32)[level])[:, None, None, None]
        for values, level in zip((BLURS, NOISES), levels.T, strict=True)
    )
    blurred = F.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    normal = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return torch.lerp(pictures, blurred, blur) + noise * normal, torch.from_numpy(levels)


def draw_labelled_faces(first_seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces with uniform attributes.

    Returns:
        uint8 pictures, (count, H, W, 3), and labels as `fit_features` takes them.
    """
    images, labels = [], []
    for seed in tqdm(range(first_seed, first_seed + count), desc="drawing", unit="face"):
        face = faces.draw_face(np.random.default_rng(seed))
        images.append(faces.render_face(face).image)
        labels.append(_labels({n: faces.ATTRIBUTES[n].index(value) for n, value in face.attributes.items()}))
    return np.stack(images), np.stack(labels)


def draw_labelled_scenes(first_seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Landscapes, animals in front of landscapes, and in front of other scenery, in turn; returns as for faces."""
    images, labels = [], []
    for seed in tqdm(range(first_seed, first_seed + count), desc="drawing", unit="scene"):
        rng = np.random.default_rng(seed)
        kind = seed % 3
        values: dict[str, int] = {}
        if kind == 2:
            picture = draw_background(rng)
        else:
            landscape = landscapes.draw_landscape(rng)
            picture = landscapes.render_landscape(landscape)
            values |= {n: landscapes.ATTRIBUTES[n].index(value) for n, value in landscape.attributes.items()}
        if kind:
            animal = draw_animal(rng, drawings=TRAINING_DRAWINGS + HELD_OUT_DRAWINGS)
            picture = stand_before(animal, picture)
            values["animal"] = ANIMALS.index(animal.name)
        images.append(picture)
        labels.append(_labels(values))
    return np.stack(images), np.stack(labels)


def _labels(values: dict[str, int]) -> np.ndarray:
    return np.array([values.get(name, UNKNOWN) for name in DRAWN_CLASSES])
