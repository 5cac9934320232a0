"""Held-out faces, drawn from seeds of no training set, and measures of sampled faces."""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from mcdm_core.conditions.encoder import Encoder
from mcdm_core.conditions.reading.sketch import edges
from mcdm_core.expert.condition import Condition

from ..data.captions import caption
from ..data.face_parser import Parsed, parse_face
from ..data.faces import ATTRIBUTES, MAPS, Face, Frequencies, draw_face, render_face
from ..metrics import (
    f1_score,
    flat_noise,
    flat_pixels,
    high_frequency_energy,
    intersection_over_union,
    right_answers,
    stripes,
)
from .alternatives import alternatives, excluded, measure_alternatives, measure_excluded
from .config import DataConfig, Setting
from .face_reader import MISSING, read_faces
from .held_out import LARGE_SIZE, DrawnHeldOut, Tile, as_floats, asked, compared_seeds, is_one_picture
from .mouth import read_mouths
from .similarity import measure_edges, measure_similarity

CAPTION_ATTRIBUTES = ("hair_color", "skin_color", "background", "mouth")
"""Attributes that maps leave open, so that a caption beside them can decide them."""


@dataclass(frozen=True)
class HeldOutFace:
    """A face with its drawing, maps and captions.

    Attributes:
        face: The face.
        image: uint8, (H, W, 3).
        maps: "hair" and "skin" → uint8 coverage, (H, W).
        caption: A caption that names all attributes that captions of this kind name.
        captions: Attribute → a caption that names only this attribute.
    """

    face: Face
    image: np.ndarray
    maps: dict[str, np.ndarray]
    caption: str
    captions: dict[str, str]


class Faces(DrawnHeldOut):
    """Faces of ToonHead with their maps and captions; a face is drawn when it is first used."""

    measures: tuple[str, ...] = (
        "maps",
        "similarity",
        "frechet",
        "attributes",
        "edges",
        "cleanness",
        "alternatives",
        "excluded",
    )
    read: tuple[str, ...] = ("maps", "frechet", "attributes", "cleanness", "alternatives")
    large_measures = ("eyes", "stripes")

    def __init__(self, config: DataConfig):
        super().__init__(config)
        if unknown := sorted(config.leading.keys() - ATTRIBUTES.keys()):
            raise ValueError(f"Faces have no attributes {unknown} to lead with; they have {', '.join(ATTRIBUTES)}.")
        for name, value in config.leading.items():
            if value not in ATTRIBUTES[name]:
                raise ValueError(f"Faces have no {value!r} as {name}; lead with one of {', '.join(ATTRIBUTES[name])}.")
        self._frequencies = Frequencies(config.leading)
        self._named: Collection[str] = CAPTION_ATTRIBUTES  # attributes with captions of their own
        self._drawn: dict[int, HeldOutFace] = {}
        self._parsed: tuple[np.ndarray | None, list[Parsed]] = (None, [])

    def __getitem__(self, index: int) -> HeldOutFace:
        if index not in self._drawn:
            rng = np.random.default_rng(self._config.seed + index)
            face = draw_face(rng, self._frequencies, self._config.spread)
            drawing = render_face(face, MAPS, self._size)
            text = caption(face.attributes, rng, CAPTION_ATTRIBUTES)
            captions = {name: caption(face.attributes, rng, (name,)) for name in CAPTION_ATTRIBUTES}
            self._drawn[index] = HeldOutFace(face, drawing.image, drawing.maps, text, captions)
        return self._drawn[index]

    @functools.cached_property
    def images(self) -> np.ndarray:
        """The drawings, uint8, (N, H, W, 3)."""
        return np.stack([self[i].image for i in range(len(self))])

    def encode(self, name: str, encoder: Encoder, sources: Sequence[int]) -> Condition:
        """An expert's condition: a caption, a map, or the edges of the picture."""
        if name == "text":
            return encoder.encode_text([self[i].caption for i in sources])
        if name in self._named:
            return encoder.encode_text([self[i].captions[name] for i in sources])
        if name == "sketch":
            return encoder.encode_sketch(as_floats(np.stack([self[i].image for i in sources])))
        return encoder.encode_map(self.map_of(name, sources), name)

    def map_of(self, name: str, sources: Sequence[int]) -> Tensor:
        """The maps of faces, 0…1, (B, H, W)."""
        if name not in MAPS:
            return super().map_of(name, sources)
        return as_floats(np.stack([self[i].maps[name] for i in sources]))

    def tile(self, name: str, source: int) -> Tile:
        """A face's condition, for display: a caption, a map, or its edges."""
        if name == "text":
            return self[source].caption
        if name in self._named:
            return self[source].captions[name]
        if name == "sketch":
            return Image.fromarray(255 * edges(self[source].image).astype(np.uint8))
        return Image.fromarray(self[source].maps[name] if name in MAPS else self[source].image)

    def compared(self) -> np.ndarray:
        """Drawings of other faces of the same kind."""
        rngs = map(np.random.default_rng, compared_seeds(self._config))
        faces = (draw_face(rng, self._frequencies, self._config.spread) for rng in rngs)
        return np.stack([render_face(face, (), self._size).image for face in faces])

    def measure(self, group: str, images: np.ndarray, setting: Setting | None) -> dict[str, np.ndarray]:
        """One group of measures, with a value per picture."""
        count = len(images)
        if group == "similarity":
            if not is_one_picture(setting):
                return {}
            return measure_similarity(images, self.images[:count], self.features)
        if group == "edges":
            sources = asked(setting, "sketch", count, self)
            return {} if sources is None else measure_edges(images, self.images[sources])
        if group == "stripes":
            return {"stripes": stripes(images, self._flat(count, setting))}
        if group == "eyes":
            sources = asked(setting, "sketch", count, self)
            return measure_eyes(images, None if sources is None else [self[i].face.eyes for i in sources])
        parsed = self._parse(images)
        if group == "cleanness":
            return measure_cleanness(images, parsed, self.images)
        if group == "maps":
            asked_for = {name: asked(setting, name, count, self) for name in MAPS}
            if not any(asked_for.values()):
                return {}
            # A map that was not requested is compared with the picture's own: how much one map tells of the other.
            return measure_maps(
                parsed,
                {
                    name: np.stack([self[i].maps[name] for i in sources or range(count)])
                    for name, sources in asked_for.items()
                },
            )
        if group == "alternatives":
            captions = [self._attributes(sources) for sources in alternatives(setting, count, self)]
            return measure_alternatives(self._read_attributes(images, parsed), captions) if captions else {}
        if group == "excluded":
            of = excluded(setting, self._named, count, self)
            unwanted = {name: [a[name] for a in self._attributes(sources)] for name, sources in of.items()}
            return measure_excluded(self._read_attributes(images, parsed), unwanted)
        sources = asked(setting, "text", count, self)
        if sources is None:
            return {}
        return measure_attributes(self._read_attributes(images, parsed), self._attributes(sources))

    def _alike(self, images: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
        """See `HeldOut`; also "same mouth", whether the same kind is read."""
        return super()._alike(images, others) | {
            "same mouth": right_answers(self._mouths(images), self._mouths(others))
        }

    def _attributes(self, sources: Sequence[int]) -> list[dict[str, str]]:
        return [self[i].face.attributes for i in sources]

    def _read_attributes(self, images: np.ndarray, parsed: Sequence[Parsed]) -> dict[str, list[str]]:
        """Attribute that captions name → value in each picture: colours by the palette, mouths by a reader."""
        colors = {name: [p.colors[name] for p in parsed] for name in parsed[0].colors if name in self._named}
        return colors | ({"mouth": self._mouths(images)} if "mouth" in self._named else {})

    def _mouths(self, images: np.ndarray) -> list[str]:
        return read_faces(images)["mouth"] if self._size == LARGE_SIZE else read_mouths(images)

    def _flat(self, count: int, setting: Setting | None) -> np.ndarray:
        """Pixels whose 3×3 neighbourhood should be flat, (count, H, W).

        These are the flat ones of the drawing, if all conditions are of one picture; else those of all requested maps.
        """
        if is_one_picture(setting):
            return flat_pixels(self.images[:count])
        flat = np.ones((count, self._size, self._size), dtype=bool)
        for name in MAPS:
            if (sources := asked(setting, name, count, self)) is not None:
                flat &= flat_pixels(np.stack([self[i].maps[name] for i in sources])[..., None])
        return flat

    def _parse(self, images: np.ndarray) -> list[Parsed]:
        """Parse pictures; the last result is kept, since several groups of measures use the same pictures in a row."""
        if self._parsed[0] is not images:
            self._parsed = images, [parse_face(image) for image in images]
        return self._parsed[1]


def measure_maps(parsed: Sequence[Parsed], maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """IoU and F1 of parsed maps with the requested ones, and their means over the maps.

    Args:
        parsed: Result of the parser for each picture.
        maps: Map name → uint8 coverage, (B, H, W).
    """
    shown = {name: [getattr(p, name) for p in parsed] for name in maps}
    measures: dict[str, np.ndarray] = {}
    for label, score in (("IoU", intersection_over_union), ("F1", f1_score)):
        of_maps = {
            f"{name} {label}": np.array([score(p, m > 127) for p, m in zip(shown[name], maps[name], strict=True)])
            for name in maps
        }
        measures |= {f"m{label}": np.mean([*of_maps.values()], axis=0)} | of_maps
    return measures


def measure_attributes(read: Mapping[str, Sequence[str]], wanted: Sequence[dict[str, str]]) -> dict[str, np.ndarray]:
    """Whether each picture shows what its caption names, 0 or 1, whether it shows all of that, and the mean.

    Args:
        read: Attribute → its value in each picture, as read.
        wanted: Attributes that each caption names.
    """
    right = {
        name.replace("_", " "): right_answers(values, [attributes[name] for attributes in wanted])
        for name, values in read.items()
    }
    each = [*right.values()]
    return {"all attributes": np.min(each, axis=0), "attributes": np.mean(each, axis=0)} | right


def measure_eyes(images: np.ndarray, wanted: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Whether both eyes are there and, where a sketch requests them, of its kind; 0 or 1. Captions name no eyes.

    Args:
        images: uint8 samples, (B, 256, 256, 3).
        wanted: Requested kind of eyes of each sample, one of `EYES`; None without a sketch.
    """
    read = read_faces(images)["eyes"]
    measures = {"both eyes": np.array([float(kind != MISSING) for kind in read])}
    return measures if wanted is None else measures | {"kind of eyes": right_answers(read, wanted)}


def measure_cleanness(images: np.ndarray, parsed: Sequence[Parsed], references: np.ndarray) -> dict[str, np.ndarray]:
    """High-frequency energy relative to drawn faces, and how flat the flat areas are (mean deviation, of 255)."""
    drawn = high_frequency_energy(references)
    return {
        "high-frequency energy": np.array([high_frequency_energy(image[None]) / drawn for image in images]),
        "deviation in flat areas": np.array(
            [flat_noise(image[None], flat_area(p)[None]) for image, p in zip(images, parsed, strict=True)]
        ),
    }


def flat_area(parsed: Parsed) -> np.ndarray:
    """Pixels whose whole 3×3 neighbourhood the parser assigns to hair, or to skin, (H, W)."""
    parts = np.stack([parsed.hair, parsed.skin])
    return np.asarray((flat_pixels(parts[..., None]) & parts).any(axis=0))
