"""The scenes: an expert of animals and one of landscapes, united across two noise schedules (paper §4.2 and §7.2)."""

import argparse
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..condition import Condition
from ..data.animals import ANIMALS
from ..data.landscape_captions import landscape_caption
from ..data.landscapes import ATTRIBUTES, draw_landscape
from ..experts import Expert
from ..metrics import Figure, attribute_accuracy, class_accuracy
from .animals import animal_reader
from .landscape_parser import parse_landscape
from .reader import Reader
from .sampling import SampleSetting, draw_samples

TEST_SEED = 35_000_000
VALIDATION_SEED = 36_000_000  # weights are chosen on these
CLASS_EXPERT, TEXT_EXPERT = "animals", "landscapes"
SCENE_WEIGHTS = (2.0, 3.0, 5.0)

Table = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Scene:
    """What a picture is asked to show.

    Attributes:
        animal: One of `ANIMALS`.
        attributes: Value of each attribute of the landscape.
        caption: Names all of them.
    """

    animal: str
    attributes: dict[str, str]
    caption: str


@dataclass(frozen=True)
class SceneSetting(SampleSetting):
    """How samples of scenes are made.

    Attributes:
        name: Shown in tables.
        weights: Expert name → w.
        reliability: a of the class expert; the text expert has the rest.
        first_seed: First of the held-out scenes.
        count: Number of samples.
        steps: DDIM steps.
        eta: η of DDIM.
    """

    name: str
    weights: dict[str, float]
    reliability: float
    first_seed: int
    count: int
    steps: int
    eta: float
    noise_seed: ClassVar[int] = 1_000_000  # apart from the start noise

    def share(self, expert: str) -> float:
        """See `SampleSetting`."""
        return self.reliability if expert == CLASS_EXPERT else 1 - self.reliability

    def condition(self, name: str, expert: Expert, indices: range) -> Condition:
        """See `SampleSetting`."""
        asked = [held_out_scene(self.first_seed + i) for i in indices]
        if name == CLASS_EXPERT:
            return expert.encoder.encode_class([1 + ANIMALS.index(scene.animal) for scene in asked])
        return expert.encoder.encode_text([scene.caption for scene in asked])


def held_out_scene(seed: int) -> Scene:
    """The scene of a seed; consecutive seeds go through the animals."""
    rng = np.random.default_rng(seed)
    attributes = draw_landscape(rng).attributes
    return Scene(ANIMALS[seed % len(ANIMALS)], attributes, landscape_caption(attributes, rng, list(ATTRIBUTES)))


def scenes(arguments: argparse.Namespace) -> Table:
    """Animal and landscape united, each expert alone, and three reliabilities."""
    w, reader = arguments.scene_weight, animal_reader()  # read first: a missing one is told before sampling
    both = {CLASS_EXPERT: w, TEXT_EXPERT: w}
    settings = [
        _setting(arguments, f"united, w = {w:g}, a = 1/2", both, 0.5),
        _setting(arguments, f"class expert alone, w = {w:g}", {CLASS_EXPERT: w}, 1.0),
        _setting(arguments, f"text expert alone, w = {w:g}", {TEXT_EXPERT: w}, 0.0),
        _setting(arguments, f"united, w = {w:g}, a = 0 for the class expert", both, 0.0),
        _setting(arguments, f"united, w = {w:g}, a = 1 for the class expert", both, 1.0),
    ]
    return {setting.name: _measured(arguments, setting, reader) for setting in settings}


def choose_scene_weight(arguments: argparse.Namespace) -> Table:
    """The united experts at several w, on validation scenes."""
    reader = animal_reader()
    settings = [
        replace(_setting(arguments, f"w = {w:g}", {CLASS_EXPERT: w, TEXT_EXPERT: w}, 0.5), first_seed=VALIDATION_SEED)
        for w in SCENE_WEIGHTS
    ]
    return {setting.name: _measured(arguments, setting, reader) for setting in settings}


def measure_scenes(images: np.ndarray, asked: list[Scene], reader: Reader) -> dict[str, Figure]:
    """Share of pictures with the animal asked for, with each attribute of the landscape, and the mean of these.

    Args:
        images: uint8 samples, (N, H, W, 3).
        asked: What each was asked to show.
        reader: Reads animals.
    """
    parsed = [parse_landscape(image) for image in images]
    read = {name: [values[name] for values in parsed] for name in ATTRIBUTES}
    animals = class_accuracy(reader.read(images), [scene.animal for scene in asked])
    return {"animal": animals} | attribute_accuracy(read, [scene.attributes for scene in asked], mean="landscape")


def _setting(arguments: argparse.Namespace, name: str, weights: dict[str, float], reliability: float) -> SceneSetting:
    return SceneSetting(name, weights, reliability, TEST_SEED, arguments.count, arguments.steps, arguments.eta)


def _measured(arguments: argparse.Namespace, setting: SceneSetting, reader: Reader) -> dict[str, str]:
    images = draw_samples(setting, arguments.experts, arguments.out / "samples", arguments.workers)
    asked = [held_out_scene(setting.first_seed + i) for i in range(setting.count)]
    return {name: str(figure) for name, figure in measure_scenes(images, asked, reader).items()}
