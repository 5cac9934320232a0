"""The measurements themselves: which settings are sampled and what of them is tabled."""

import argparse
from collections.abc import Callable

import numpy as np

from .faces import measure_attributes, measure_cleanness, measure_edges, measure_maps
from .held_out import TEST_SEED, VALIDATION_SEED, HeldOut, draw_held_out
from .mouth import MouthReader
from .sampling import Setting, draw_samples
from .scenes import choose_scene_weight, scenes

Table = dict[str, dict[str, str]]
MAP_WEIGHTS = (1.0, 1.5, 2.0, 3.0)
TEXT_WEIGHTS = (2.0, 3.0, 4.0, 5.0, 6.0)


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
    reader = MouthReader()
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
    reader = MouthReader()
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


def _captions_row(images: np.ndarray, faces: HeldOut, setting: Setting, reader: MouthReader) -> dict[str, str]:
    sources = [setting.source(i, "text") for i in range(len(images))]
    row = _strings(measure_attributes(images, faces, sources, reader))
    return (_maps_row(images, faces, setting) if "hair" in setting.weights else {}) | row


def _strings(figures: dict) -> dict[str, str]:
    return {name: str(figure) for name, figure in figures.items()}
