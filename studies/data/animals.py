"""Emoji animals in front of procedural scenery.

`animals.json` holds four drawings of each animal: of Noto Emoji (Apache-2.0), Fluent Emoji (MIT), Twemoji and
EmojiOne 2 (both CC BY 4.0); see NOTICE.md. The scenery has the landscapes' colours among others, but neither their
drawings nor captions: the two distributions have to overlap, or the product of both experts would have no mass.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from .foreground import CANVAS, Placement, render, to_hex
from .landscapes import HILL_COLORS, IMAGE_SIZE, ORB_COLORS, SKY_COLORS

DRAWING_VERSION = 1  # counts changes to the drawing of pictures; sets of earlier versions are not used
ANIMALS = ("fox", "tiger", "elephant", "owl", "penguin", "dog", "cat", "koala", "octopus", "butterfly")
TRAINING_DRAWINGS = ("noto", "fluent-emoji-flat", "twemoji")
HELD_OUT_DRAWINGS = ("emojione",)  # no expert is trained on these

_FOREIGN_COLORS = 0.25  # share of skies, orbs and hills with a colour that no landscape has
_LUMA = np.array([0.299, 0.587, 0.114])
_SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100">'


@dataclass(frozen=True)
class Animal:
    """Everything that decides how an animal looks.

    Attributes:
        name: One of `ANIMALS`.
        drawing: Emoji set of its drawing.
        placement: Position and size.
        stretch: Width relative to height.
        saturation: Factor of the colours' distance from gray.
        brightness: Factor of the colours.
        cast: Offset of red, green and blue, in 0…255.
    """

    name: str
    drawing: str
    placement: Placement
    stretch: float
    saturation: float
    brightness: float
    cast: tuple[float, float, float]


def draw_animal(
    rng: np.random.Generator, names: Sequence[str] = ANIMALS, drawings: Sequence[str] = TRAINING_DRAWINGS
) -> Animal:
    """A random animal, all names and drawings equally often."""
    red, green, blue = rng.uniform(-12, 12, 3).tolist()
    return Animal(
        name=str(rng.choice(names)),
        drawing=str(rng.choice(drawings)),
        placement=Placement.draw(rng),
        stretch=float(rng.uniform(0.9, 1.12)),
        saturation=float(rng.uniform(0.8, 1.2)),
        brightness=float(rng.uniform(0.88, 1.1)),
        cast=(red, green, blue),
    )


@functools.cache
def _drawings() -> dict:
    return json.loads((resources.files(__package__) / "animals.json").read_text(encoding="utf-8"))


def stand_before(animal: Animal, background: np.ndarray) -> np.ndarray:
    """The animal in front of a background; uint8, (size, size, 3) as the background."""
    return blend(*draw_layer(animal, len(background)), background)


def draw_layer(animal: Animal, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The animal alone: its colours, 0…255, (size, size, 3), and its coverage, 0…1, (size, size, 1)."""
    drawing = _drawings()[animal.drawing]
    layer = _placed(animal, drawing["bodies"][animal.name], drawing["size"], size)
    rgb, alpha = layer[..., :3], layer[..., 3:] / 255
    gray = (rgb @ _LUMA)[..., None]
    rgb = (gray + animal.saturation * (rgb - gray)) * animal.brightness + np.array(animal.cast)
    return rgb.clip(0, 255), alpha


def cover_circles(animal: Animal, circles: Sequence[tuple[float, float, float]], size: int) -> np.ndarray:
    """Where circles of the animal's drawing are in the picture.

    Args:
        animal: Whose drawing.
        circles: Middle, from the left and the top, and radius, in hundredths of the drawing's side.
        size: Side of the picture in pixels.

    Returns:
        0…1, (circles, size, size, 1).
    """
    drawn = [f'<circle cx="{x}" cy="{y}" r="{radius}"/>' for x, y, radius in circles]
    return np.array([_placed(animal, each, CANVAS, size)[..., 3:] / 255 for each in drawn])


def _placed(animal: Animal, body: str, side: float, size: int) -> np.ndarray:
    """A body drawn on a square of the given side, placed as the animal is; 0…255, (size, size, 4)."""
    stretch = f"translate({side / 2} 0) scale({animal.stretch:.3f} 1) translate({-side / 2} 0)"
    group = f'<g transform="{animal.placement.svg(side)} {stretch}">{body}</g>'
    return render(f"{_SVG}{group}</svg>", size).astype(np.float64)


def blend(colors: np.ndarray, coverage: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A layer in front of a background, uint8, (size, size, 3)."""
    return (coverage * colors + (1 - coverage) * background).round().astype(np.uint8)


@functools.cache
def colors_of(name: str, step: int = 16, share: float = 0.01) -> np.ndarray:
    """The colours of an animal in all its drawings.

    Args:
        name: One of `ANIMALS`.
        step: Red, green and blue are rounded to multiples of this.
        share: Smallest share of a drawing's pixels for a colour to count.

    Returns:
        RGB, 0…255, (colours, 3).
    """
    colors = []
    for drawing in _drawings().values():
        placement = Placement(CANVAS / 2, CANVAS / 2, CANVAS, 0, False).svg(drawing["size"])
        pixels = render(f'{_SVG}<g transform="{placement}">{drawing["bodies"][name]}</g></svg>', IMAGE_SIZE)
        opaque = pixels[pixels[..., 3] == 255][:, :3].astype(np.int64)
        found, counts = np.unique((opaque + step // 2) // step, axis=0, return_counts=True)
        colors.append(found[counts >= share * len(opaque)] * step)
    return np.unique(np.minimum(np.concatenate(colors), 255), axis=0)


def draw_background(rng: np.random.Generator, size: int = IMAGE_SIZE) -> np.ndarray:
    """Scenery: a sky, perhaps an orb, and ranges of hills; uint8, (size, size, 3)."""
    sky = _color(rng, SKY_COLORS[str(rng.choice(list(SKY_COLORS)))])
    shapes = [f'<rect width="{CANVAS}" height="{CANVAS}" fill="{to_hex(sky)}"/>']
    orb = ORB_COLORS[str(rng.choice(list(ORB_COLORS)))]
    if orb is not None:
        x, y, radius = rng.uniform(15, 85), rng.uniform(8, 24), rng.uniform(5, 9)
        color = to_hex(_color(rng, orb))
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}"/>')
        if rng.random() < 0.25:
            ring = f'r="{radius + 3:.1f}" fill="none" stroke="{color}" stroke-width="1.5"'
            shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" {ring}/>')
    ranges = HILL_COLORS[str(rng.choice(list(HILL_COLORS)))]
    if rng.random() < _FOREIGN_COLORS:
        base = rng.uniform(40, 255, 3)
        ranges = tuple((base * factor).tolist() for factor in (1, 0.8, 0.65, 0.5))
    tops = np.sort(rng.uniform(26, 40) + rng.uniform(0, 50, len(ranges)))
    shapes += [_hill(rng, top, to_hex(np.array(c) + rng.uniform(-8, 8))) for top, c in zip(tops, ranges, strict=True)]
    return render(f"{_SVG}{''.join(shapes)}</svg>", size)[..., :3]


def _color(rng: np.random.Generator, rgb: tuple[int, int, int]) -> np.ndarray:
    if rng.random() < _FOREIGN_COLORS:
        return rng.uniform(20, 255, 3)
    return np.array(rgb) + rng.uniform(-8, 8, 3)


def _hill(rng: np.random.Generator, top: float, color: str) -> str:
    """A range of hills: everything below a sum of waves."""
    x = np.linspace(0, CANVAS, 41)
    height = np.zeros_like(x)
    for _ in range(3):
        height += rng.uniform(0, 4) * np.sin(x * rng.uniform(0.03, 0.25) + rng.uniform(0, 2 * np.pi))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, top + height, strict=True))
    return f'<polygon points="0,{CANVAS} {points} {CANVAS},{CANVAS}" fill="{color}"/>'
