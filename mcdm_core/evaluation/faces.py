"""What sampled faces show of what they were asked for."""

import numpy as np

from ..conditions.sketch import edges
from ..metrics import (
    Figure,
    attribute_accuracy,
    boundary_f1,
    f1_score,
    flat_noise,
    high_frequency_energy,
    intersection_over_union,
)
from .held_out import HeldOut
from .parser import parse_face
from .reader import Reader


def measure_maps(images: np.ndarray, faces: HeldOut, sources: dict[str, list[int]]) -> dict[str, Figure]:
    """IoU and F1 of parsed maps with the maps asked for.

    Args:
        images: uint8 samples, (N, H, W, 3).
        faces: Where the maps come from.
        sources: Map name → for each sample the index of the face whose map was asked for.
    """
    parsed = [parse_face(image) for image in images]
    figures = {}
    for name, indices in sources.items():
        pairs = [(getattr(p, name), faces.maps[name][i] > 127) for p, i in zip(parsed, indices, strict=True)]
        figures[f"{name} IoU"] = Figure.of([intersection_over_union(*pair) for pair in pairs])
        figures[f"{name} F1"] = Figure.of([f1_score(*pair) for pair in pairs])
    return figures


def measure_edges(images: np.ndarray, faces: HeldOut, indices: list[int]) -> Figure:
    """F1 of the samples' edges with those of the pictures whose sketch was asked for.

    Args:
        images: uint8 samples, (N, H, W, 3).
        faces: Where the sketches come from.
        indices: For each sample, the face whose sketch was asked for.
    """
    drawn, asked = edges(images) > 0, edges(faces.images[indices]) > 0
    return Figure.of([boundary_f1(*pair) for pair in zip(drawn, asked, strict=True)])


def measure_attributes(images: np.ndarray, faces: HeldOut, indices: list[int], reader: Reader) -> dict[str, Figure]:
    """Share of samples that show each attribute their caption names, and the mean over attributes.

    Args:
        images: uint8 samples, (N, H, W, 3).
        faces: Where the captions come from.
        indices: For each sample, the face its caption describes.
        reader: Reads mouths.
    """
    read: dict[str, list[str]] = {"mouth": reader.read(images)}
    for image in images:
        for name, value in parse_face(image).colors.items():
            read.setdefault(name, []).append(value)
    return attribute_accuracy(read, [faces.faces[i].attributes for i in indices], mean="mean of attributes")


def measure_cleanness(images: np.ndarray, faces: HeldOut) -> dict[str, float]:
    """High-frequency energy relative to real renders, and how flat the flat areas are (0…255, renders beside it)."""
    return {
        "high-frequency energy / real": high_frequency_energy(images) / high_frequency_energy(faces.images),
        "deviation in flat areas": flat_noise(images, _flat(images)),
        "deviation in flat areas, real": flat_noise(faces.images, _flat(faces.images)),
    }


def _flat(images: np.ndarray) -> np.ndarray:
    """Pixels whose whole 3×3 neighbourhood the parser gives to one part."""
    flat = np.zeros(images.shape[:3], dtype=bool)
    for mask, image in zip(flat, images, strict=True):
        parsed = parse_face(image)
        for part in (parsed.hair, parsed.skin):
            windows = np.lib.stride_tricks.sliding_window_view(part, (3, 3))
            mask[1:-1, 1:-1] |= windows.all(axis=(-2, -1))
    return flat
