"""The measurements themselves: which settings are sampled and what of them is tabled."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..condition import Condition
from ..experts import Expert
from .faces import measure_attributes, measure_cleanness, measure_edges, measure_maps
from .held_out import TEST_SEED, VALIDATION_SEED, HeldOut, draw_held_out
from .mouth import mouth_reader
from .reader import Reader
from .sampling import SampleSetting, draw_samples
from .scenes import choose_scene_weight, scenes

Table = dict[str, dict[str, str]]
MAP_WEIGHTS = (1.0, 1.5, 2.0, 3.0)
TEXT_WEIGHTS = (2.0, 3.0, 4.0, 5.0, 6.0)


@dataclass(frozen=True)
class Setting(SampleSetting):
    """How samples of faces are made: by experts of equal reliability.

    Attributes:
        name: Shown in tables.
        weights: Expert name → w.
        first_seed: First of the held-out faces.
        count: Number of samples.
        steps: DDIM steps.
        shifts: Expert name → how many faces further on its condition is taken from (0: the face itself).
        eta: η of DDIM.
    """

    name: str
    weights: dict[str, float]
    first_seed: int
    count: int
    steps: int = 100
    shifts: dict[str, int] | None = None
    eta: float = 0.0

    def source(self, index: int, expert: str) -> int:
        """The face whose condition sample `index` takes for this expert."""
        return (index + (self.shifts or {}).get(expert, 0)) % self.count

    def share(self, expert: str) -> float:
        """See `SampleSetting`."""
        return 1 / len(self.weights)

    def condition(self, name: str, expert: Expert, indices: range) -> Condition:
        """See `SampleSetting`."""
        faces = draw_held_out(self.first_seed, self.count)
        sources = [self.source(i, name) for i in indices]
        if expert.encoder.kind == "text":
            return expert.encoder.encode_text([faces.captions[i] for i in sources])
        if expert.encoder.kind == "sketch":
            return expert.encoder.encode_sketch(torch.from_numpy(faces.images[sources]).float() / 255)
        return expert.encoder.encode_map(torch.from_numpy(faces.maps[name][sources]).float() / 255)


def maps(arguments: argparse.Namespace) -> Table:
    """Hair and skin maps of one face, united and alone, and of two faces (paper, Table 4)."""
    w, count = arguments.map_weight, arguments.count
    faces = draw_held_out(TEST_SEED, count)
    table = {"real renders (ceiling)": _maps_row(faces.images, faces)}
    settings = [
        _setting(arguments, f"united, w = {w:g}", {"hair": w, "skin": w}),
        _setting(arguments, f"hair expert alone, w = {w:g}", {"hair": w}),
        _setting(arguments, f"skin expert alone, w = {w:g}", {"skin": w}),
        _setting(arguments, "united, w = 1", {"hair": 1.0, "skin": 1.0}),
        _setting(arguments, f"maps of two faces, w = {w:g}", {"hair": w, "skin": w}, {"skin": 1}, count // 2),
    ]
    for setting in settings:
        images = _sample(arguments, setting)
        table[setting.name] = _maps_row(images, draw_held_out(setting.first_seed, setting.count), setting)
    return table


def captions(arguments: argparse.Namespace) -> Table:
    """A caption with the maps of another face, and a caption alone (paper §7.3)."""
    faces = draw_held_out(TEST_SEED, arguments.count)
    reader = mouth_reader()
    everyone = list(range(len(faces)))
    table = {
        "real renders (ceiling)": _maps_row(faces.images, faces)
        | _strings(measure_attributes(faces.images, faces, everyone, reader))
    }
    weights = {"hair": arguments.map_weight, "skin": arguments.map_weight, "text": arguments.text_weight}
    united = _setting(arguments, "maps and another face's caption", weights, {"text": 1})
    alone = _setting(arguments, "caption alone", {"text": arguments.text_alone_weight})
    for setting in (united, alone):
        table[setting.name] = _captions_row(_sample(arguments, setting), faces, setting, reader)
    return table


def sketches(arguments: argparse.Namespace) -> Table:
    """Edges of the sketch expert's samples against the sketches they were asked for, and against another face's."""
    faces = draw_held_out(TEST_SEED, arguments.count)
    setting = _setting(
        arguments, f"sketch expert alone, w = {arguments.map_weight:g}", {"sketch": arguments.map_weight}
    )
    images = _sample(arguments, setting)

    def row(offset: int) -> dict[str, str]:
        return {"edge F1": str(measure_edges(images, faces, [(i + offset) % len(faces) for i in range(len(images))]))}

    return {setting.name: row(0) | _cleanness(images, faces), "against another face's sketch (chance)": row(1)}


def choose_map_weight(arguments: argparse.Namespace) -> Table:
    """IoU of the united map experts at several w, on validation faces."""
    table = {}
    for w in MAP_WEIGHTS:
        setting = _setting(arguments, f"w = {w:g}", {"hair": w, "skin": w}, first_seed=VALIDATION_SEED)
        faces = draw_held_out(VALIDATION_SEED, setting.count)
        table[setting.name] = _maps_row(_sample(arguments, setting), faces, setting)
    return table


def choose_text_weight(arguments: argparse.Namespace) -> Table:
    """Attributes and IoU at several w of the text expert beside maps and alone, on validation faces."""
    faces = draw_held_out(VALIDATION_SEED, arguments.count)
    reader = mouth_reader()
    table = {}
    for w in TEXT_WEIGHTS:
        beside = {"hair": arguments.map_weight, "skin": arguments.map_weight, "text": w}
        for setting in (
            _setting(arguments, f"beside maps, w = {w:g}", beside, {"text": 1}, first_seed=VALIDATION_SEED),
            _setting(arguments, f"alone, w = {w:g}", {"text": w}, first_seed=VALIDATION_SEED),
        ):
            table[setting.name] = _captions_row(_sample(arguments, setting), faces, setting, reader)
    return table


PROTOCOLS: dict[str, Callable[[argparse.Namespace], Table]] = {
    "maps": maps,
    "captions": captions,
    "sketches": sketches,
    "scenes": scenes,
    "choose-map-weight": choose_map_weight,
    "choose-text-weight": choose_text_weight,
    "choose-scene-weight": choose_scene_weight,
}


def to_markdown(table: Table) -> str:
    """The table, one row a setting."""
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(row.get(c, "") for c in columns) + " |" for name, row in table.items()]
    return "\n".join(lines) + "\n"


def _setting(
    arguments: argparse.Namespace,
    name: str,
    weights: dict[str, float],
    shifts: dict[str, int] | None = None,
    count: int | None = None,
    first_seed: int = TEST_SEED,
) -> Setting:
    return Setting(name, weights, first_seed, count or arguments.count, arguments.steps, shifts, arguments.eta)


def _sample(arguments: argparse.Namespace, setting: Setting) -> np.ndarray:
    return draw_samples(setting, arguments.experts, arguments.out / "samples", arguments.workers)


def _maps_row(images: np.ndarray, faces: HeldOut, setting: Setting | None = None) -> dict[str, str]:
    def source(index: int, name: str) -> int:
        return setting.source(index, name) if setting else index

    sources = {name: [source(i, name) for i in range(len(images))] for name in ("hair", "skin")}
    return _strings(measure_maps(images, faces, sources)) | _cleanness(images, faces)


def _cleanness(images: np.ndarray, faces: HeldOut) -> dict[str, str]:
    return {name: f"{value:.2f}" for name, value in measure_cleanness(images, faces).items()}


def _captions_row(images: np.ndarray, faces: HeldOut, setting: Setting, reader: Reader) -> dict[str, str]:
    sources = [setting.source(i, "text") for i in range(len(images))]
    row = _strings(measure_attributes(images, faces, sources, reader))
    return (_maps_row(images, faces, setting) if "hair" in setting.weights else {}) | row


def _strings(figures: dict) -> dict[str, str]:
    return {name: str(figure) for name, figure in figures.items()}
