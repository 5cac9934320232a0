"""The parser's ceiling: what it reads from real renders."""

import numpy as np
import pytest

from studies.data.face_parser import parse_face
from studies.evaluation.config import DataConfig
from studies.evaluation.faces import measure_cleanness, measure_maps
from studies.evaluation.kinds import open_held_out

COUNT = 24


@pytest.fixture(scope="module")
def faces():
    return open_held_out(DataConfig("faces", seed=21_000_000, count=COUNT))


@pytest.fixture(scope="module")
def parsed(faces):
    return [parse_face(image) for image in faces.images]


def maps_of(faces, shift):
    return {name: np.stack([faces[(i + shift) % COUNT].maps[name] for i in range(COUNT)]) for name in ("hair", "skin")}


def test_maps_are_read_back(faces, parsed):
    measured = measure_maps(parsed, maps_of(faces, 0))
    assert measured["hair IoU"].mean() > 0.93
    assert measured["skin IoU"].mean() > 0.82
    assert measured["hair F1"].mean() > measured["hair IoU"].mean()


def test_maps_of_another_face_don_t_match(faces, parsed):
    measured = measure_maps(parsed, maps_of(faces, 1))
    assert measured["hair IoU"].mean() < 0.75
    assert measured["skin IoU"].mean() < 0.75


@pytest.mark.parametrize("attribute", ["hair_color", "skin_color", "background"])
def test_colours_are_read_back(faces, parsed, attribute):
    right = [p.colors[attribute] == faces[i].face.attributes[attribute] for i, p in enumerate(parsed)]
    assert np.mean(right) >= 0.95


def test_noise_is_measured_beside_real_renders(faces, parsed):
    images = faces.images
    clean = measure_cleanness(images, parsed, images)
    assert clean["high-frequency energy"].mean() == pytest.approx(1)
    noise = np.random.default_rng(0).normal(0, 12, images.shape)
    noisy = measure_cleanness((images + noise).clip(0, 255).astype(np.uint8), parsed, images)
    assert noisy["high-frequency energy"].mean() > 1.1
    assert noisy["deviation in flat areas"].mean() > clean["deviation in flat areas"].mean() + 5
