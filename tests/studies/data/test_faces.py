"""Drawn faces: exact maps, reproducible seeds, data sets whose supports meet, and hair that does not tell the face."""

import dataclasses
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mcdm_core.training.config import load_config
from studies.data.faces import (
    ATTRIBUTES,
    BEARD_PROBABILITIES,
    HAIR_COLORS,
    SKIN_COLORS,
    Face,
    Frequencies,
    draw_face,
    render_face,
)
from studies.metrics import intersection_over_union

CONFIGS = Path(__file__).resolve().parents[3] / "studies" / "configs"
NAMES = ("hair", "skin", "sketch", "text")
PIXELS = ("hair", "skin")
PAIRS = 40


def face_of(seed: int) -> Face:
    return draw_face(np.random.default_rng(seed))


def mean_iou(pairs: list[tuple[Face, Face]], name: str) -> float:
    maps = [[render_face(face, (name,)).maps[name] > 127 for face in pair] for pair in pairs]
    return float(np.mean([intersection_over_union(*pair) for pair in maps]))


def with_hair(face: Face, other: Face, *pose: str) -> Face:
    """A face with the other's hair, and what is named of its pose; the head still hides a little of the rear hair."""
    hair = {name: other.attributes[name] for name in ("hair_style", "rear_hair")}
    placed = {name: getattr(other, name) for name in ("hair_placement", *pose)}
    return dataclasses.replace(face, attributes=face.attributes | hair, **placed)


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("shared", "other"), [("hair", "skin"), ("skin", "hair")])
def test_one_map_does_not_give_the_other_away(shared, other):
    drawn = [(face_of(2 * i), face_of(2 * i + 1)) for i in range(PAIRS)]
    if shared == "hair":
        pairs = [(first, with_hair(second, first, "scale", "rotate", "translate")) for first, second in drawn]
    else:
        pairs = [(first, with_hair(first, second)) for first, second in drawn]
    assert mean_iou(pairs, shared) > 0.8  # not 1: hair hides skin, and the head hides rear hair
    assert mean_iou(pairs, other) <= 0.75


def test_the_order_of_maps_changes_nothing():
    both = render_face(face_of(3), ("hair", "skin"))
    assert both.image.shape == (64, 64, 3)
    assert np.array_equal(render_face(face_of(3)).image, both.image)
    assert np.array_equal(render_face(face_of(3), ("skin",)).maps["skin"], both.maps["skin"])


def recolored(face: Face, attribute: str, value: str) -> np.ndarray:
    changed = dataclasses.replace(face, attributes=face.attributes | {attribute: value})
    return render_face(changed).image.astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_the_skin_map_is_what_the_skin_colour_changes(seed):
    face = face_of(seed)
    coverage = render_face(face, ("skin",)).maps["skin"] / 255
    change = recolored(face, "skin_color", "pale") - recolored(face, "skin_color", "dark")
    colors = np.subtract(SKIN_COLORS["pale"], SKIN_COLORS["dark"])
    under_the_mouth = mouth_area(face)
    difference = np.abs(change - coverage[..., None] * colors)[~under_the_mouth]
    assert difference.max() <= 8  # the renderer rounds after each of many layers
    assert difference.mean() < 0.3
    assert under_the_mouth.sum() > 8


def mouth_area(face: Face) -> np.ndarray:
    """Pixels where any mouth would show, (64, 64)."""
    images = [render_face(with_mouth(face, mouth)).image.astype(int) for mouth in ATTRIBUTES["mouth"]]
    return np.ptp(np.stack(images), axis=0).max(axis=-1) > 0


def with_mouth(face: Face, mouth: str) -> Face:
    return dataclasses.replace(face, attributes=face.attributes | {"mouth": mouth})


@pytest.mark.parametrize("seed", range(5))
def test_maps_leave_the_mouth_open(seed):
    renderings = [render_face(with_mouth(face_of(seed), mouth), ("hair", "skin")) for mouth in ATTRIBUTES["mouth"]]
    for first, second in combinations(renderings, 2):
        assert all(np.array_equal(first.maps[name], second.maps[name]) for name in ("hair", "skin"))
        assert (first.image != second.image).any(axis=-1).sum() > 8  # but the picture tells them apart


@pytest.mark.parametrize("seed", range(5))
def test_the_hair_map_is_what_the_hair_colour_changes_but_for_brows_and_beard(seed):
    face = face_of(seed)
    coverage = render_face(face, ("hair",)).maps["hair"] / 255
    change = recolored(face, "hair_color", "blonde") - recolored(face, "hair_color", "blue")
    colors = np.subtract(HAIR_COLORS["blonde"], HAIR_COLORS["blue"])
    # Brows and beard are of a darker tone of the hair's colour, so that they change along with it.
    rest = (change / colors)[..., 0] - coverage
    assert rest.min() > -0.04
    assert (np.abs(rest) < 0.04).mean() > 0.85


def test_no_pixel_belongs_to_two_maps():
    for seed in range(10):
        maps = render_face(face_of(seed), ("hair", "skin")).maps
        assert (maps["hair"].astype(int) + maps["skin"]).max() <= 257


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_uniform_faces_show_every_value_equally_often(attribute):
    rng = np.random.default_rng(0)
    counts = Counter(Frequencies().draw(rng, attribute) for _ in range(4000))
    values = ATTRIBUTES[attribute]
    expected = BEARD_PROBABILITIES if attribute == "beard" else [1 / len(values)] * len(values)
    assert [counts[value] / 4000 for value in values] == pytest.approx(expected, abs=0.03)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", ["hair", "skin", "sketch", "text"])
def test_a_data_set_has_its_leading_colours_and_all_others(name):
    leading = load_config(CONFIGS / f"{name}.toml").data.leading
    assert set(leading) == {"hair_color", "skin_color", "background"}
    rng = np.random.default_rng(0)
    for attribute, value in leading.items():
        counts = Counter(Frequencies(leading).draw(rng, attribute) for _ in range(4000))
        assert counts[value] / 4000 == pytest.approx(0.7, abs=0.03)
        # A product of experts whose supports don't meet has no mass.
        rest = [counts[other] / 4000 for other in ATTRIBUTES[attribute] if other != value]
        assert min(rest) > 0.7 * 0.3 / len(rest)


@pytest.mark.parametrize(("folder", "names"), [("", NAMES), ("pixels", PIXELS)])
def test_data_sets_lead_with_different_colours(folder, names):
    leading = [load_config(CONFIGS / folder / f"{name}.toml").data.leading for name in names]
    for one, other in combinations(leading, 2):
        assert all(one[attribute] != other[attribute] for attribute in one)
