"""The reader of whether an animal is whole, at 256 pixels.

What samples do to animals is done to drawings: a silhouette of one colour, a part that dissolves into the scenery, eyes
that are lost, features that melt. Whole animals are a little soft and warped as well, as good samples are.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates, median_filter
from tqdm import tqdm

from ..data.animals import ANIMALS, blend, cover_circles, draw_layer
from ..data.drawn_set import channels_first
from ..data.foreground import CANVAS
from ..metrics import shrunk
from .animal_eyes import EYES
from .animals import animal_and_scenery
from .decoded import decoded
from .face_reader import HALF_SIZE, PICTURE_SIZE, VAE
from .reader import Reader, train_reader

WEIGHTS = Path(__file__).with_name("whole_animal_reader.safetensors")
FIRST_SEED = 64_000_000
WHOLE, NOT_WHOLE = STATES = ("whole", "not whole")
CLASSES = {"animal": ANIMALS, "state": STATES}  # what animal it is tells where eyes should be
_SHARE = 0.7  # of the animals are damaged; at a half, the reader leaves more of those damaged in samples unseen
_BLIND = 0.4  # of the damaged ones that have eyes lose one or all, and nothing else
_BATCH = 32


def read_states(images: np.ndarray, path: Path = WEIGHTS) -> list[str]:
    """Whether each picture's animal is whole, one of `STATES`; images uint8, (N, 256, 256, 3)."""
    return Reader(path, CLASSES, HALF_SIZE).read(images)["state"]


def train_whole_animal_reader(
    path: Path = WEIGHTS, steps: int = 5000, count: int = 9000, decoded_count: int = 1200, seed: int = FIRST_SEED
) -> Path:
    """Draw `count` animals, most of them damaged, train the reader on them and write it.

    Args:
        path: File to write.
        steps: Optimizer steps of 32 pictures.
        count: Number of animals to draw.
        decoded_count: Number of these that the VAE encodes and decodes; they are shown three times as often.
        seed: Seed of the first animal, of initialization and of batches.
    """
    large, large_labels = draw_whole_and_damaged(seed, decoded_count, PICTURE_SIZE)
    small, small_labels = draw_whole_and_damaged(seed + decoded_count, count - decoded_count, HALF_SIZE)
    pictures = np.concatenate([small, *[shrunk(decoded(large, VAE), HALF_SIZE)] * 3])
    labels = np.concatenate([small_labels, *[large_labels] * 3])
    mirrored = channels_first(np.concatenate([pictures, pictures[:, :, ::-1]]))
    values = torch.from_numpy(np.concatenate([labels] * 2))
    return train_reader(path, mirrored, values, [*map(len, CLASSES.values())], steps, seed, _BATCH)


def draw_whole_and_damaged(first_seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Animals, alternately in front of landscapes and of other scenery, whole or damaged.

    Returns:
        uint8 pictures, (count, size, size, 3), and the index of each attribute's value in `CLASSES`, (count, 2).
    """
    images, labels = [], []
    for seed in tqdm(range(first_seed, first_seed + count), desc="drawing", unit="picture"):
        rng = np.random.default_rng(seed)
        animal, scenery = animal_and_scenery(rng, seed % 2 == 0, size)
        damaged = rng.random() < _SHARE
        colors, coverage = draw_layer(animal, size)
        eyes = cover_circles(animal, EYES[animal.drawing].get(animal.name, ()), size)
        if damaged:
            colors, coverage = damage(colors, coverage, eyes, rng)
        images.append(disturb(colors, coverage, eyes, scenery, rng))
        labels.append((ANIMALS.index(animal.name), STATES.index(NOT_WHOLE if damaged else WHOLE)))
    return np.stack(images), np.array(labels)


def disturb(
    colors: np.ndarray,
    coverage: np.ndarray,
    eyes: np.ndarray,
    scenery: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The animal as a good sample may have it: slightly warped, without its finest lines; shapes as `damage`.

    Its eyes stay, also small ones: without them it wouldn't be whole.

    Returns:
        uint8, (S, S, 3).
    """
    size = len(scenery)
    if rng.random() < 0.5:
        kept = np.max(eyes, axis=0) if len(eyes) else 0.0
        colors = kept * colors + (1 - kept) * _without_small(colors, coverage, 3)
    layer = _warped(_layer(colors, coverage), rng, rng.uniform(0, 0.015) * size, rng.uniform(0.04, 0.1))
    layer = gaussian_filter(layer, (*[rng.uniform(0, 0.006) * size] * 2, 0))
    return blend(layer[..., :3], layer[..., 3:], scenery)


def damage(
    colors: np.ndarray, coverage: np.ndarray, eyes: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The animal as a bad sample may have it: without an eye alone, or by one or two of `DAMAGES`.

    Args:
        colors: 0…255, (S, S, 3).
        coverage: 0…1, (S, S, 1).
        eyes: Where each eye is, 0…1, (eyes, S, S, 1).
        rng: Decides what is lost.

    Returns:
        Colours and coverage, likewise.
    """
    if len(eyes) and rng.random() < _BLIND:
        return blind(colors, coverage, eyes, rng), coverage
    for index in rng.choice(len(DAMAGES), size=1 + int(rng.random() < 0.4), replace=False):
        colors, coverage = DAMAGES[index](colors, coverage, rng)
    return colors, coverage


def blind(colors: np.ndarray, coverage: np.ndarray, eyes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One eye or all are gone, or left as a shadow; the finest parts stay."""
    lost = np.max(eyes if rng.random() < 0.5 else [eyes[rng.integers(len(eyes))]], axis=0)
    around = _smoothed(colors, coverage * (1 - lost), 0.03)
    lost = lost * rng.uniform(0.8, 1)
    return lost * around + (1 - lost) * colors


def flatten(colors: np.ndarray, coverage: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A silhouette of one colour, or of few that blend."""
    mean = _smoothed(colors, coverage, rng.uniform(0.06, 0.25))
    return mean + rng.uniform(0, 0.12) * (colors - mean), coverage


def smear(colors: np.ndarray, coverage: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A third or more of the animal has no features, just the colours around."""
    here = _region(coverage, rng)
    return here * _smoothed(colors, coverage, rng.uniform(0.04, 0.1)) + (1 - here) * colors, coverage


def dissolve(colors: np.ndarray, coverage: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A third or more of the animal is scenery."""
    return colors, coverage * (1 - _region(coverage, rng))


def lose(colors: np.ndarray, coverage: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Eyes and other small parts are gone."""
    return _without_small(colors, coverage, int(rng.choice([11, 13, 15]))), coverage


def melt(colors: np.ndarray, coverage: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features run into each other, or are where they don't belong."""
    length = rng.uniform(0.02, 0.12)
    layer = _warped(_layer(colors, coverage), rng, rng.uniform(0.9, 1.4) * length * len(colors), length)
    return layer[..., :3], layer[..., 3:]


DAMAGES = (flatten, smear, dissolve, lose, melt)


def _layer(colors: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    return np.concatenate([colors, coverage], axis=-1)


def _region(coverage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A soft region, 0…1, (S, S, 1), that has 0.3 to 0.6 of the animal."""
    field = _waves(rng, coverage.shape[:2], 0.12)
    inside = coverage[..., 0] > 0.5
    edge = np.quantile(field[inside], rng.uniform(0.3, 0.6)) if inside.any() else 0.0
    return gaussian_filter((field < edge).astype(np.float64), rng.uniform(0.004, 0.02) * len(coverage))[..., None]


def _smoothed(colors: np.ndarray, coverage: np.ndarray, radius: float) -> np.ndarray:
    """Colours averaged over `radius` of the picture, those of the animal alone."""
    radii = (radius * len(colors), radius * len(colors), 0)
    return gaussian_filter(coverage * colors, radii) / (gaussian_filter(coverage, radii) + 1e-6)


def _without_small(colors: np.ndarray, coverage: np.ndarray, width: int) -> np.ndarray:
    """Colours without what is less than half as wide as `width` hundredths of the picture."""
    opaque = coverage[..., 0] > 0.5
    mean = colors[opaque].mean(axis=0) if opaque.any() else 127.0
    filled = np.where(opaque[..., None], colors, mean).astype(np.uint8)
    small = np.asarray(Image.fromarray(filled).resize((CANVAS, CANVAS), Image.Resampling.BOX))
    plain = Image.fromarray(median_filter(small, (width, width, 1)))
    return np.asarray(plain.resize(colors.shape[1::-1], Image.Resampling.BICUBIC)).astype(np.float64)


def _warped(layer: np.ndarray, rng: np.random.Generator, reach: float, length: float) -> np.ndarray:
    """A layer whose points have moved by `reach` pixels on average, in waves about `length` of the picture long."""
    size = layer.shape[:2]
    moves = [_waves(rng, size, length) for _ in range(2)]
    scale = reach / np.hypot(*moves).mean()
    points = [grid + scale * move for grid, move in zip(np.indices(size), moves, strict=True)]
    channels = [map_coordinates(channel, points, order=1, mode="nearest") for channel in np.moveaxis(layer, -1, 0)]
    return np.stack(channels, axis=-1)


def _waves(rng: np.random.Generator, size: tuple[int, ...], length: float) -> np.ndarray:
    """Smooth noise; drawn alike at any size."""
    coarse = gaussian_filter(rng.standard_normal((CANVAS, CANVAS)), CANVAS * length)
    points = np.meshgrid(*(np.linspace(0, CANVAS - 1, side) for side in size), indexing="ij")
    return map_coordinates(coarse, points, order=1)
