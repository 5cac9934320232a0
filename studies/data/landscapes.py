"""Parametric landscapes (DiceBear "landscape", CC0) whose sky, orb and hills have well-separated colours.

Some pictures have an object in front (see `foreground`), so that the expert trained on them allows for one.
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np
from dicebear import Avatar, Style

from .foreground import CANVAS, draw_object, render, to_hex

IMAGE_SIZE = 64
DRAWING_VERSION = 1  # counts changes to the drawing of landscapes; sets of earlier versions are not used
OBJECT_SHARE = 0.6  # share of landscapes with an object in front

Color = tuple[int, int, int]

SKY_COLORS: dict[str, Color] = {
    "blue": (130, 205, 255),
    "red": (236, 92, 84),
    "purple": (172, 122, 228),
    "dark": (26, 28, 62),
}
ORB_COLORS: dict[str, Color | None] = {"sun": (255, 226, 40), "moon": (240, 240, 246), "none": None}
HILL_COLORS: dict[str, tuple[Color, Color, Color, Color]] = {
    "green": ((132, 206, 120), (92, 176, 88), (58, 140, 64), (34, 102, 48)),
    "brown": ((208, 162, 104), (178, 126, 72), (142, 94, 50), (102, 66, 36)),
    "blue": ((84, 132, 224), (58, 104, 200), (40, 78, 166), (28, 56, 126)),
    "white": ((250, 250, 252), (230, 234, 240), (208, 214, 224), (184, 192, 206)),
}
"""Colours of the four ranges of hills, the farthest first."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "sky": tuple(SKY_COLORS),
    "orb": tuple(ORB_COLORS),
    "hills": tuple(HILL_COLORS),
}
"""Every attribute a caption can name, with its values."""

_ORB_VARIANTS = {"sun": ("sun", "glow"), "moon": ("sun",)}  # the style's "sun" is a plain disc
_SHAPES = ("dunes", "gentle", "mesa", "peak", "ridge", "rolling", "rugged", "slope")


@dataclass(frozen=True)
class Landscape:
    """Everything that decides how a landscape looks.

    Attributes:
        attributes: Value of each of `ATTRIBUTES`.
        shapes: Shape of each range of hills.
        orb: The style's variant of sun and moon.
        seed: Seed of the positions of hills and orb.
        foreground: Object in front, SVG in units of `CANVAS`; empty for none.
    """

    attributes: dict[str, str]
    shapes: tuple[str, ...]
    orb: str
    seed: int
    foreground: str = ""


def draw_landscape(rng: np.random.Generator, object_share: float = OBJECT_SHARE) -> Landscape:
    """A random landscape, all values equally often.

    Args:
        rng: Source of all randomness.
        object_share: Probability of an object in front.
    """
    attributes = {name: str(rng.choice(values)) for name, values in ATTRIBUTES.items()}
    shapes = tuple(rng.choice(_SHAPES, len(HILL_COLORS["green"])).tolist())
    orb = str(rng.choice(_ORB_VARIANTS.get(attributes["orb"], ("sun",))))
    seed = int(rng.integers(1 << 31))
    return Landscape(attributes, shapes, orb, seed, draw_object(rng) if rng.random() < object_share else "")


@functools.cache
def _style() -> Style:
    return Style(json.loads((resources.files("dicebear_styles") / "landscape.json").read_text(encoding="utf-8")))


def render_landscape(landscape: Landscape, size: int = IMAGE_SIZE) -> np.ndarray:
    """Draw a landscape; uint8, (size, size, 3)."""
    a = landscape.attributes
    orb = ORB_COLORS[a["orb"]]
    options = {
        "seed": str(landscape.seed),
        "size": CANVAS,
        "backgroundColor": to_hex(SKY_COLORS[a["sky"]]),
        "orbProbability": 0 if orb is None else 100,
        "orbVariant": landscape.orb,
        "orbColor": to_hex(orb or (0, 0, 0)),
        "animationProbability": 0,
    }
    for i, (shape, color) in enumerate(zip(landscape.shapes, HILL_COLORS[a["hills"]], strict=True), start=1):
        options |= {f"hill{i}Variant": shape, f"hill{i}Color": to_hex(color)}
    svg = str(Avatar(_style(), options)).replace("</svg>", landscape.foreground + "</svg>")
    return render(svg, size)[..., :3]
