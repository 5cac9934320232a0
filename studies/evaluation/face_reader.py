"""The reader of mouths and eyes of faces of 256 pixels, trained on drawings and their reconstructions by a VAE.

Eyes are of one of the drawn kinds, or "missing": some training faces lack one or both eyes, or have them smeared, as
samples may.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from tqdm import tqdm

from ..data.drawn_set import channels_first
from ..data.faces import EYES, MOUTHS, Face, draw_face, render_face
from ..metrics import shrunk
from .decoded import decoded
from .reader import Reader, train_reader

WEIGHTS = Path(__file__).with_name("face_reader_256.safetensors")
VAE = Path(__file__).parents[2] / "vae" / "mcdm_vae.safetensors"
FIRST_SEED = 60_000_000
PICTURE_SIZE, HALF_SIZE = 256, 128  # pixels of faces, and to which they are shrunk for reading
MIDDLE = slice(38, 118), slice(24, 104)  # rows and columns of a face of 128 pixels that hold eyes and mouth
MISSING = "missing"
CLASSES = {"mouth": tuple(MOUTHS), "eyes": (*EYES, MISSING)}
_BATCH = 32
_INCOMPLETE = 0.2  # share of faces with a missing eye
_SMEARED = 1 / 3  # share of these whose eye is smeared instead


def read_faces(images: np.ndarray, path: Path = WEIGHTS) -> dict[str, list[str]]:
    """Attribute of `CLASSES` → its value in each picture; images uint8, (N, 256, 256, 3)."""
    return Reader(path, CLASSES, MIDDLE[0].stop - MIDDLE[0].start).read(_middle(images))


def train_face_reader(
    path: Path = WEIGHTS, steps: int = 2000, count: int = 5000, decoded_count: int = 700, seed: int = FIRST_SEED
) -> Path:
    """Draw `count` faces, train the reader on them and write it.

    It is trained on all faces equally, and then for half as long with dark faces four times as often, since lines of
    eyes and mouths are faint on these.

    Args:
        path: File to write.
        steps: Optimizer steps of the first part, of 32 faces each.
        count: Number of faces to draw.
        decoded_count: Number of these that the VAE encodes and decodes; they are shown three times as often.
        seed: Seed of the first face, of initialization and of batches.
    """
    large, *large_labels = draw_labelled_faces(seed, decoded_count, PICTURE_SIZE)
    small, *small_labels = draw_labelled_faces(seed + decoded_count, count - decoded_count, HALF_SIZE)
    pictures = _middle(np.concatenate([small, *[shrunk(decoded(large, VAE), HALF_SIZE)] * 3]))
    labels, dark = (np.concatenate([a, *[b] * 3] * 2) for a, b in zip(small_labels, large_labels, strict=True))
    values = torch.from_numpy(labels)
    mirrored = channels_first(np.concatenate([pictures, pictures[:, :, ::-1]]))
    counts = [len(each) for each in CLASSES.values()]
    train_reader(path, mirrored, values, counts, steps, seed, _BATCH)
    rows = torch.from_numpy(np.concatenate([np.arange(len(dark)), *[np.flatnonzero(dark)] * 3]))
    return train_reader(path, mirrored[rows], values[rows], counts, steps // 2, seed + 1, _BATCH, start=path)


def _middle(images: np.ndarray) -> np.ndarray:
    """The part with eyes and mouth, (N, 80, 80, 3), of faces (N, S, S, 3), S of 128 or 256."""
    return shrunk(images, HALF_SIZE)[:, MIDDLE[0], MIDDLE[1]]


def draw_labelled_faces(first_seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces with uniform attributes, some of them without one or both eyes.

    Returns:
        uint8 pictures, (count, size, size, 3), the index of each attribute's value in `CLASSES`, (count, attributes),
        and whether the skin is dark, (count,).
    """
    images, labels, dark = [], [], []
    for seed in tqdm(range(first_seed, first_seed + count), desc="drawing", unit="face"):
        rng = np.random.default_rng(seed)
        face = draw_face(rng)
        incomplete = rng.random() < _INCOMPLETE
        values = face.attributes | {"eyes": MISSING if incomplete else face.eyes}
        images.append(render_incomplete(face, rng, size) if incomplete else render_face(face, (), size).image)
        labels.append([choices.index(values[name]) for name, choices in CLASSES.items()])
        dark.append(face.attributes["skin_color"] == "dark")
    return np.stack(images), np.array(labels), np.array(dark)


def render_incomplete(face: Face, rng: np.random.Generator, size: int) -> np.ndarray:
    """The face without one or both eyes, or with them smeared; uint8, (size, size, 3)."""
    whole, bare = render_face(face, (), size).image, render_face(face, (), size, left_out="eyes").image
    columns = np.flatnonzero((whole != bare).any(axis=(0, 2)))
    middle = (columns[0] + columns[-1]) // 2
    lost = np.zeros((size, size, 1), dtype=bool)
    side = rng.integers(3)
    lost[:, : middle if side == 0 else size] = True
    lost[:, : middle if side == 1 else 0] = False
    if rng.random() < _SMEARED:
        rows = np.flatnonzero((whole != bare).any(axis=(1, 2)))
        lost[: rows[0]] = lost[rows[-1] :] = False
        bare = np.asarray(Image.fromarray(whole).filter(ImageFilter.GaussianBlur(size / 24)))
    return np.where(lost, bare, whole)
