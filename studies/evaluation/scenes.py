"""Held-out scenes: an animal given by its class, in front of a landscape given by its caption (paper §4.2 and §7.2)."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcdm_core.conditions.encoder import Encoder
from mcdm_core.expert.condition import Condition

from ..data.animals import ANIMALS, TRAINING_DRAWINGS, draw_animal, stand_before
from ..data.landscape_captions import landscape_caption
from ..data.landscapes import ATTRIBUTES, IMAGE_SIZE, Landscape, draw_landscape, render_landscape
from ..metrics import right_answers, stripes
from .animals import read_animals
from .config import DataConfig, Setting
from .detail import measure_detail
from .held_out import DrawnHeldOut, Tile, asked, compared_seeds
from .landscape_parser import parse_landscape
from .ring import ring_share
from .whole_animals import NOT_WHOLE, read_states


@dataclass(frozen=True)
class Scene:
    """The requested content of a picture.

    Attributes:
        animal: One of `ANIMALS`.
        landscape: The landscape behind it.
        caption: A caption that names all attributes of the landscape.
    """

    animal: str
    landscape: Landscape
    caption: str


def held_out_scene(seed: int) -> Scene:
    """The scene of a seed; consecutive seeds cycle through the animals."""
    rng = np.random.default_rng(seed)
    landscape = replace(draw_landscape(rng), foreground="")  # the animal stands there
    text = landscape_caption(landscape.attributes, rng, list(ATTRIBUTES))
    return Scene(ANIMALS[seed % len(ANIMALS)], landscape, text)


def render_scene(seed: int, size: int = IMAGE_SIZE) -> np.ndarray:
    """A drawing of that scene, uint8, (size, size, 3)."""
    scene = held_out_scene(seed)
    animal = draw_animal(np.random.default_rng((seed, 1)), (scene.animal,), TRAINING_DRAWINGS)
    return stand_before(animal, render_landscape(scene.landscape, size))


class Scenes(DrawnHeldOut):
    """Animals before landscapes, with a class and a text each."""

    measures: tuple[str, ...] = ("scene", "frechet")
    read = measures
    large_measures = ("ring", "stripes", "detail", "whole")

    def __init__(self, config: DataConfig):
        super().__init__(config)
        self.scenes = [held_out_scene(config.seed + i) for i in range(config.count)]

    @functools.cached_property
    def images(self) -> np.ndarray:
        """The drawings, uint8, (N, H, W, 3)."""
        return np.stack([render_scene(self._config.seed + i, self._size) for i in range(len(self))])

    def encode(self, name: str, encoder: Encoder, sources: Sequence[int]) -> Condition:
        """An expert's condition: the class of the animal, or the text of the landscape."""
        if name == "class":
            return encoder.encode_class([1 + ANIMALS.index(self.scenes[i].animal) for i in sources])
        if name == "text":
            return encoder.encode_text([self.scenes[i].caption for i in sources])
        raise ValueError(f"Scenes have a class and a text, and no {name}; ask for one of these.")

    def tile(self, name: str, source: int) -> Tile:
        """A scene's condition, for display: the name of the class, or the text."""
        return self.scenes[source].animal if name == "class" else self.scenes[source].caption

    def compared(self) -> np.ndarray:
        """Drawings of other scenes."""
        return np.stack([render_scene(seed, self._size) for seed in compared_seeds(self._config)])

    def measure(self, group: str, images: np.ndarray, setting: Setting | None) -> dict[str, np.ndarray]:
        """One group of measures; a scene doesn't tell which areas are flat, so stripes are measured everywhere."""
        if group == "stripes":
            return {"stripes": stripes(images)}
        if group == "whole":
            return {NOT_WHOLE: np.array([float(state == NOT_WHOLE) for state in read_states(images)])}
        own = list(range(len(images)))
        animals, landscapes = (asked(setting, name, len(images), self) for name in ("class", "text"))
        if group in ("ring", "detail"):
            if animals is None or landscapes is None:
                return {}
            sources = zip(images, animals, landscapes, strict=True)
            shown = [(image, self.scenes[a].animal, self.scenes[b].landscape) for image, a, b in sources]
            name, measure = ("ring", ring_share) if group == "ring" else ("edges inside", measure_detail)
            return {name: np.array([measure(*each) for each in shown])}
        return self._measure_scene(images, animals or own, landscapes or own)

    def _measure_scene(
        self, images: np.ndarray, animals: Sequence[int], landscapes: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Whether each picture shows its animal and its landscape, requested or not; 0 or 1, but for a mean."""
        read, parsed = read_animals(images), [parse_landscape(image) for image in images]
        wanted = [self.scenes[i].landscape.attributes for i in landscapes]
        right = {name: right_answers([p[name] for p in parsed], [w[name] for w in wanted]) for name in ATTRIBUTES}
        animal = right_answers(read, [self.scenes[i].animal for i in animals])
        facts = [*right.values()]
        all_facts = np.min(facts, axis=0)
        return {
            "animal": animal,
            "all of the landscape": all_facts,
            "all with the animal": np.minimum(all_facts, animal),
            "landscape": np.mean(facts, axis=0),
            **right,
        }
