"""Foreground of landscapes: its placement, and random objects.

Units are hundredths of the picture's side. Animals and objects have the same placements, below the sun and the moon and
with hills on both sides, so that a landscape and an animal can be in one picture without hiding each other.
"""

import io
from dataclasses import dataclass

import numpy as np
import resvg_py
from PIL import Image

CANVAS = 100


@dataclass(frozen=True)
class Placement:
    """Position, size and orientation of an object.

    Attributes:
        x: Middle, from the left.
        y: Middle, from the top.
        size: Side of its bounding square.
        rotation: Degrees, clockwise.
        flip: Whether it is mirrored.
    """

    x: float
    y: float
    size: float
    rotation: float
    flip: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Placement":
        """A random placement."""
        return cls(
            x=float(rng.uniform(32, 68)),
            y=float(rng.uniform(58, 67)),
            size=float(rng.uniform(48, 68)),
            rotation=float(rng.uniform(-14, 14)),
            flip=bool(rng.random() < 0.5),
        )

    def svg(self, side: float) -> str:
        """The transform that places a square of the given side."""
        scale = self.size / side
        mirror = -scale if self.flip else scale
        return (
            f"translate({self.x:.2f} {self.y:.2f}) rotate({self.rotation:.2f}) scale({mirror:.4f} {scale:.4f}) "
            f"translate({-side / 2} {-side / 2})"
        )


def draw_object(rng: np.random.Generator) -> str:
    """A random object as SVG: a few ellipses and polygons of few colours with spots, but no animal.

    The text expert has to learn that something may stand in front of a landscape, or its product with an expert of
    animals would have no mass; but it must not learn what that is.
    """
    placement = Placement.draw(rng)
    colors = [_color(rng) for _ in range(3)]
    shapes = [_shape(rng, 50, 50, 38, colors[0])]
    for _ in range(rng.integers(2, 6)):
        x, y = rng.uniform(18, 82, 2)
        shapes.append(_shape(rng, x, y, rng.uniform(10, 28), colors[rng.integers(3)]))
    for _ in range(rng.integers(0, 7)):
        x, y = rng.uniform(22, 78, 2)
        shapes.append(_ellipse(rng, x, y, rng.uniform(2.5, 6), str(rng.choice(["#202024", "#ffffff", colors[2]]))))
    return f'<g transform="{placement.svg(CANVAS)}">{"".join(shapes)}</g>'


def _shape(rng: np.random.Generator, x: float, y: float, radius: float, color: str) -> str:
    return (_ellipse if rng.random() < 0.6 else _polygon)(rng, x, y, radius, color)


def _ellipse(rng: np.random.Generator, x: float, y: float, radius: float, color: str) -> str:
    across, along = radius * rng.uniform(0.7, 1.3, 2)
    turn = f"rotate({rng.uniform(0, 180):.1f} {x:.1f} {y:.1f})"
    return f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{across:.1f}" ry="{along:.1f}" transform="{turn}" fill="{color}"/>'


def _polygon(rng: np.random.Generator, x: float, y: float, radius: float, color: str) -> str:
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
    radii = radius * rng.uniform(0.7, 1.4, len(angles))
    points = " ".join(f"{x + r * np.cos(a):.1f},{y + r * np.sin(a):.1f}" for r, a in zip(radii, angles, strict=True))
    return f'<polygon points="{points}" fill="{color}" stroke="{color}" stroke-width="3" stroke-linejoin="round"/>'


def _color(rng: np.random.Generator) -> str:
    """A random colour; a third are grays."""
    rgb = np.repeat(rng.integers(20, 256), 3) if rng.random() < 1 / 3 else rng.integers(20, 256, 3)
    return to_hex(rgb)


def to_hex(rgb: object) -> str:
    """An RGB colour, 0…255, in SVG's notation."""
    r, g, b = np.clip(np.asarray(rgb), 0, 255).astype(int).tolist()
    return f"#{r:02x}{g:02x}{b:02x}"


def render(svg: str, size: int) -> np.ndarray:
    """A whole SVG document as uint8 RGBA, (size, size, 4)."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))
