"""Parametric faces (DiceBear "toon-head" by Johan Melin, CC BY 4.0) with exact segmentation maps.

A face is drawn as SVG, so its maps are exact: the hair map is how much each pixel changes when only the hair colour
does. In the original style, hair and head have one fixed place; here they move independently, or a hair map would show
where the face is, and one expert could do the work of two. The skin map is drawn without the mouth, so that a caption
can decide it. Mouths are larger and darker than in the original, since at 64 pixels a smile and a frown would be the
same faint line.
"""

import functools
import json
from dataclasses import dataclass, field
from importlib import resources

import numpy as np
from dicebear import Avatar, Style

from .foreground import render, to_hex

MAPS = ("hair", "skin")
"""The maps that can be drawn of a face, in the order of a GAN's channels."""
IMAGE_SIZE = 64
DRAWING_VERSION = 2  # counts changes to the drawing of faces; sets of earlier versions are not used
CANVAS = 768  # side of the style's canvas, in its own units

HAIR_COLORS = {
    "blonde": (250, 215, 50),
    "red": (215, 40, 30),
    "blue": (42, 88, 216),
    "green": (42, 168, 74),
    "purple": (142, 58, 214),
    "pink": (255, 111, 181),
}
SKIN_COLORS = {"pale": (255, 205, 170), "tan": (214, 150, 90), "brown": (150, 95, 55), "dark": (85, 50, 35)}
BACKGROUNDS = {"blue": (140, 200, 255), "green": (160, 232, 168), "purple": (201, 160, 240), "white": (245, 245, 245)}
CLOTHES_COLOR = (120, 120, 128)
# Beards and eyebrows are a darker tone of the hair: the hair map is only scalp hair, which doesn't show the face.
BEARD_SHADE = 0.6

MOUTHS = {"surprised": "agape", "angry": "angry", "laughing": "laugh", "sad": "sad", "smiling": "smile"}
HAIR_STYLES = {"bun": "bun", "side-combed": "sideComed", "spiky": "spiky", "undercut": "undercut"}
REAR_HAIR = {
    "none": None,
    "long-straight": "longStraight",
    "long-wavy": "longWavy",
    "neck-length": "neckHigh",
    "shoulder-length": "shoulderHigh",
}
EYES = ("bow", "happy", "humble", "wide", "wink")
BEARDS = {"none": None, "goatee": "chin", "full": "fullBeard"}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "hair_color": tuple(HAIR_COLORS),
    "skin_color": tuple(SKIN_COLORS),
    "background": tuple(BACKGROUNDS),
    "mouth": tuple(MOUTHS),
    "hair_style": tuple(HAIR_STYLES),
    "rear_hair": tuple(REAR_HAIR),
    "beard": tuple(BEARDS),
}
"""Every attribute a caption can name, with its values."""

BEARD_PROBABILITIES = (0.7, 0.15, 0.15)

_PARTS = {"face": ("head", "mouth", "beard", "eyes", "eyebrows"), "hair": ("rearHair", "hair")}
_PIVOT = {"face": (384, 365), "hair": (384, 300)}
_MOUTH_TRANSFORM = "translate(58.5 26) scale(1.4 1.6) translate(-58.5 -26)"  # about the middle of its 117 × 52 units


@dataclass(frozen=True)
class Placement:
    """An affine transform of a group of parts: scale about its pivot, then offset (canvas units)."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator, stretch: float, shift: float) -> "Placement":
        """Uniform placement: sides ± `stretch`, offsets ± `shift` canvas units."""
        scale = rng.uniform(1 - stretch, 1 + stretch, 2)
        offset = rng.uniform(-shift, shift, 2)
        return cls(*scale.tolist(), *offset.tolist())

    def svg(self, pivot: tuple[float, float]) -> str:
        """The SVG transform."""
        x, y = pivot
        return (
            f"translate({x + self.offset_x:.2f} {y + self.offset_y:.2f}) "
            f"scale({self.scale_x:.4f} {self.scale_y:.4f}) translate({-x} {-y})"
        )


@dataclass(frozen=True)
class Face:
    """Everything that decides how a face looks."""

    attributes: dict[str, str]
    eyes: str
    eyebrows: str
    clothes: str
    scale: float
    rotate: float
    translate: tuple[float, float]
    face_placement: Placement = field(default_factory=Placement)
    hair_placement: Placement = field(default_factory=Placement)


@dataclass(frozen=True)
class Frequencies:
    """Frequencies of attributes' values in a data set: one leading value per attribute, the others equally often.

    Attributes:
        leading: Attribute → its most frequent value; attributes not named are uniform.
        share: Frequency of the leading values.
    """

    leading: dict[str, str] = field(default_factory=dict)
    share: float = 0.7

    def draw(self, rng: np.random.Generator, attribute: str) -> str:
        """One value of the attribute."""
        values = ATTRIBUTES[attribute]
        if attribute == "beard":
            return str(rng.choice(values, p=BEARD_PROBABILITIES))
        lead = self.leading.get(attribute)
        if lead is None:
            return str(rng.choice(values))
        rest = (1 - self.share) / (len(values) - 1)
        return str(rng.choice(values, p=[self.share if v == lead else rest for v in values]))


def draw_face(rng: np.random.Generator, frequencies: Frequencies | None = None, spread: float = 1.0) -> Face:
    """A random face.

    Args:
        rng: Source of all randomness.
        frequencies: Frequencies of the colours; uniform by default.
        spread: How much head and hair turn, stretch and move apart, relative to the training sets.
    """
    frequencies = frequencies or Frequencies()
    return Face(
        attributes={name: frequencies.draw(rng, name) for name in ATTRIBUTES},
        eyes=str(rng.choice(EYES)),
        eyebrows=str(rng.choice(["angry", "happy", "neutral", "raised", "sad"])),
        clothes=str(rng.choice(["dress", "openJacket", "shirt", "tShirt", "turtleNeck"])),
        scale=float(rng.uniform(0.95, 1.25)),
        rotate=float(rng.uniform(-8, 8) * spread),
        translate=(float(rng.uniform(-4, 4)), float(rng.uniform(-4, 4))),
        face_placement=Placement.draw(rng, stretch=0.12 * spread, shift=36 * spread),
        hair_placement=Placement.draw(rng, stretch=0.06 * spread, shift=18 * spread),
    )


# Building a style validates it, which takes far longer than a drawing: it is built once, with markers for placements.
_PLACEMENT_MARKERS = {"face": "translate(90001 0)", "hair": "translate(90002 0)"}


@functools.cache
def _style() -> Style:
    document = json.loads((resources.files("dicebear_styles") / "toon-head.json").read_text(encoding="utf-8"))
    for part in ("beard", "eyebrows"):
        _rename_color(document["components"][part], "hair", "beard")
    document["colors"]["beard"] = document["colors"]["hair"]
    for element in document["canvas"]["elements"]:
        for group, parts in _PARTS.items():
            if element["name"] in parts:
                attributes = element["attributes"]
                attributes["transform"] = f"{_PLACEMENT_MARKERS[group]} {attributes['transform']}"
        if element["name"] == "mouth":
            element["attributes"]["transform"] += f" {_MOUTH_TRANSFORM}"
    for variant in ("sad", "smile"):
        document["components"]["mouth"]["variants"][variant]["elements"][-1]["attributes"]["fill-opacity"] = "1"
    return Style(document)


def _rename_color(node: object, old: str, new: str) -> None:
    """Replace a named colour throughout a part of the style document, in place."""
    if isinstance(node, dict):
        if node.get("type") == "color" and node.get("name") == old:
            node["name"] = new
        for child in node.values():
            _rename_color(child, old, new)
    elif isinstance(node, list):
        for child in node:
            _rename_color(child, old, new)


_PLACEHOLDERS = {
    "hair": "#010203",
    "skin": "#040506",
    "beard": "#070809",
    "clothes": "#0a0b0c",
    "background": "#0d0e0f",
}


def _svg_template(face: Face, left_out: str = "") -> str:
    """The face's SVG with a placeholder for each colour; a part, "mouth" or "eyes", may be left out."""
    a = face.attributes
    options = {
        "size": CANVAS,
        "hairVariant": HAIR_STYLES[a["hair_style"]],
        "mouthVariant": MOUTHS[a["mouth"]],
        "eyesVariant": face.eyes,
        "eyebrowsVariant": face.eyebrows,
        "clothesVariant": face.clothes,
        "scale": face.scale,
        "rotate": face.rotate,
        "translateX": face.translate[0],
        "translateY": face.translate[1],
        **{f"{name}Color": value for name, value in _PLACEHOLDERS.items()},
        **_optional_part("rearHair", REAR_HAIR[a["rear_hair"]]),
        **_optional_part("beard", BEARDS[a["beard"]]),
        **({f"{left_out}Probability": 0} if left_out else {}),
    }
    svg = str(Avatar(_style(), options))
    for group, placement in (("face", face.face_placement), ("hair", face.hair_placement)):
        svg = svg.replace(_PLACEMENT_MARKERS[group], placement.svg(_PIVOT[group]))
    return svg


def _optional_part(name: str, variant: str | None) -> dict:
    if variant is None:
        return {f"{name}Probability": 0}
    return {f"{name}Variant": variant, f"{name}Probability": 100}


def colors_of(face: Face) -> dict[str, tuple[int, ...]]:
    """RGB (0…255) of each coloured part."""
    hair = HAIR_COLORS[face.attributes["hair_color"]]
    return {
        "hair": hair,
        "skin": SKIN_COLORS[face.attributes["skin_color"]],
        "beard": tuple(round(c * BEARD_SHADE) for c in hair),
        "clothes": CLOTHES_COLOR,
        "background": BACKGROUNDS[face.attributes["background"]],
    }


@dataclass(frozen=True)
class Rendering:
    """A drawn face.

    Attributes:
        image: uint8, (size, size, 3).
        maps: Map name ("hair", "skin") → uint8 coverage (size, size), 255 where the part covers the pixel fully.
    """

    image: np.ndarray
    maps: dict[str, np.ndarray]


def render_face(face: Face, maps: tuple[str, ...] = (), size: int = IMAGE_SIZE, left_out: str = "") -> Rendering:
    """Draw a face and the named maps of it.

    Args:
        face: What to draw.
        maps: Any of "hair" and "skin".
        size: Side in pixels.
        left_out: "mouth" or "eyes" to leave out of the picture; empty for neither.
    """
    colors = {name: to_hex(rgb) for name, rgb in colors_of(face).items()}

    def drawn(svg: str, **overrides: str) -> np.ndarray:
        for name, value in (colors | overrides).items():
            svg = svg.replace(_PLACEHOLDERS[name], value)
        return render(svg, size)[..., :3]

    def coverage(part: str) -> np.ndarray:
        svg = _svg_template(face, "mouth") if part == "skin" else template
        white, black = drawn(svg, **{part: "#ffffff"}), drawn(svg, **{part: "#000000"})
        return np.abs(white.astype(np.int16) - black).mean(axis=2).round().astype(np.uint8)

    template = _svg_template(face, left_out)
    return Rendering(drawn(template), {name: coverage(name) for name in maps})
