"""The parser's ceiling: what it reads from real renders."""

import numpy as np
import pytest

from mcdm_core.evaluation.faces import measure_cleanness, measure_maps
from mcdm_core.evaluation.held_out import VALIDATION_SEED, draw_held_out
from mcdm_core.evaluation.parser import parse_face

COUNT = 30


@pytest.fixture(scope="module")
def faces():
    return draw_held_out(VALIDATION_SEED, COUNT)


def test_maps_are_read_back(faces):
    everyone = list(range(COUNT))
    figures = measure_maps(faces.images, faces, {"hair": everyone, "skin": everyone})
    assert figures["hair IoU"].value > 0.93
    assert figures["skin IoU"].value > 0.82
    assert figures["hair F1"].value > figures["hair IoU"].value


def test_maps_of_another_face_don_t_match(faces):
    shifted = [(i + 1) % COUNT for i in range(COUNT)]
    figures = measure_maps(faces.images, faces, {"hair": shifted, "skin": shifted})
    assert figures["hair IoU"].value < 0.75
    assert figures["skin IoU"].value < 0.75


@pytest.mark.parametrize("attribute", ["hair_color", "skin_color", "background"])
def test_colours_are_read_back(faces, attribute):
    read = [parse_face(image).colors[attribute] for image in faces.images]
    assert np.mean([value == face.attributes[attribute] for value, face in zip(read, faces.faces, strict=True)]) >= 0.95


def test_real_renders_are_the_measure_of_cleanness(faces):
    clean = measure_cleanness(faces.images, faces)
    assert clean["high-frequency energy / real"] == pytest.approx(1)
    assert clean["deviation in flat areas"] == clean["deviation in flat areas, real"]
    noise = np.random.default_rng(0).normal(0, 12, faces.images.shape)
    noisy = measure_cleanness((faces.images + noise).clip(0, 255).astype(np.uint8), faces)
    assert noisy["high-frequency energy / real"] > 1.1
    assert noisy["deviation in flat areas"] > clean["deviation in flat areas"] + 5


def test_held_out_faces_are_the_same_each_time(faces):
    again = draw_held_out(VALIDATION_SEED, 2)
    assert again.captions == faces.captions[:2]
    assert np.array_equal(again.images, faces.images[:2])
