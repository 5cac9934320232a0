"""Held-out faces: drawn at uniform frequencies from seeds that no training set touches."""

import functools
from dataclasses import dataclass

import numpy as np

from ..data.captions import caption
from ..data.faces import Face, draw_face, render_face

TEST_SEED = 20_000_000
VALIDATION_SEED = 21_000_000  # weights are chosen on these
CAPTION_ATTRIBUTES = ("hair_color", "skin_color", "background", "mouth")
"""What maps leave open, so what a caption beside them can decide."""


@dataclass(frozen=True)
class HeldOut:
    """Faces with everything that describes them.

    Attributes:
        faces: The faces.
        images: uint8, (N, H, W, 3).
        maps: "hair" and "skin" → uint8 coverage, (N, H, W).
        captions: One caption each, naming `CAPTION_ATTRIBUTES`.
    """

    faces: list[Face]
    images: np.ndarray
    maps: dict[str, np.ndarray]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.faces)


@functools.cache
def draw_held_out(first_seed: int, count: int) -> HeldOut:
    """Draw `count` faces, one a seed; once a process, since every batch and every table asks for them."""
    faces, renderings, captions = [], [], []
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng(seed)
        face = draw_face(rng)
        faces.append(face)
        renderings.append(render_face(face, ("hair", "skin")))
        captions.append(caption(face.attributes, rng, CAPTION_ATTRIBUTES))
    return HeldOut(
        faces,
        np.stack([r.image for r in renderings]),
        {name: np.stack([r.maps[name] for r in renderings]) for name in ("hair", "skin")},
        captions,
    )
