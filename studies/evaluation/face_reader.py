"""The reader of faces of 256 pixels: mouth, eyes and colours, trained on drawings and on what a VAE makes of them.

Eyes are of one of the kinds that are drawn, or not both there: some faces lack one or both, or have it smeared, as
samples may.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from ..data.faces import ATTRIBUTES, EYES, Face, draw_face, render_face
from .reader import LARGE_BATCH, LARGE_SIZE, AttributeReader, train_reader, with_decoded

WEIGHTS = Path(__file__).with_name("face_reader_256.safetensors")
FIRST_SEED = 60_000_000
PICTURE_SIZE = 256
MISSING = "missing"
CLASSES: dict[str, tuple[str, ...]] = {
    "mouth": ATTRIBUTES["mouth"],
    "eyes": (*EYES, MISSING),
    **{name: ATTRIBUTES[name] for name in ("hair_color", "skin_color", "background")},
}
_INCOMPLETE = 0.2  # of the faces lack an eye
_SMEARED = 1 / 3  # of these have it smeared


def face_reader(path: Path = WEIGHTS) -> AttributeReader:
    """The reader that tells `CLASSES` apart."""
    return AttributeReader(path, CLASSES, LARGE_SIZE)


def train_face_reader(
    path: Path = WEIGHTS, steps: int = 1500, count: int = 5000, decoded_count: int = 700, seed: int = FIRST_SEED
) -> Path:
    """Draw `count` faces, the first of them at full size for the VAE, train the reader on them and write it."""
    large = draw_labelled_faces(seed, decoded_count, PICTURE_SIZE)
    drawn = draw_labelled_faces(seed + decoded_count, count - decoded_count, LARGE_SIZE)
    images, labels = with_decoded(*drawn, *large)
    return train_reader(path, images, labels, [len(v) for v in CLASSES.values()], steps, seed, LARGE_BATCH)


def draw_labelled_faces(first_seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces with uniform attributes, some of them without one or both eyes.

    Returns:
        uint8 pictures, (count, size, size, 3), and the row of each of `CLASSES`, (count, attributes).
    """
    images, labels = [], []
    for seed in tqdm(range(first_seed, first_seed + count), desc="drawing", unit="face"):
        rng = np.random.default_rng(seed)
        face = draw_face(rng)
        incomplete = rng.random() < _INCOMPLETE
        values = face.attributes | {"eyes": MISSING if incomplete else face.eyes}
        images.append(render_incomplete(face, rng, size) if incomplete else render_face(face, (), size).image)
        labels.append([choices.index(values[name]) for name, choices in CLASSES.items()])
    return np.stack(images), np.array(labels)


def render_incomplete(face: Face, rng: np.random.Generator, size: int) -> np.ndarray:
    """The face without one eye or both, or with that smeared; uint8, (size, size, 3)."""
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
