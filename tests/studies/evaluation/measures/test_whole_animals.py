"""What is done to animals that aren't whole, and whether the shipped reader sees it."""

from functools import partial

import numpy as np
import pytest

from studies.data.animals import blend, draw_animal, draw_layer
from studies.data.landscapes import render_landscape
from studies.evaluation import whole_animals as module
from studies.evaluation.decoded import decoded
from studies.evaluation.detail import measure_detail
from studies.evaluation.face_reader import VAE
from studies.evaluation.scenes import held_out_scene
from studies.evaluation.whole_animals import (
    DAMAGES,
    STATES,
    draw_whole_and_damaged,
    flatten,
    read_states,
    train_whole_animal_reader,
)

COUNT = 60
SIZE = 256


@pytest.fixture(scope="module")
def animals():
    images, labels = draw_whole_and_damaged(65_000_000, COUNT, SIZE)
    return images, np.array(STATES)[labels[:, 1]]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_an_animal_is_damaged_alike_at_any_size(damage):
    shown = []
    for size in (128, 256):
        layer = draw_layer(draw_animal(np.random.default_rng(1)), size)
        whole = np.concatenate(layer, axis=-1)
        changed = np.concatenate(damage(*layer, np.random.default_rng(2)), axis=-1)
        shown.append([np.abs(changed - whole)[whole[..., 3] > 0.5].mean(), changed[..., 3].mean()])
    assert np.array(shown).min() > 0.02
    assert shown[0] == pytest.approx(shown[1], rel=0.15)


def test_a_flattened_animal_has_few_edges_inside():
    scene = held_out_scene(36_500_000)
    layer = draw_layer(draw_animal(np.random.default_rng(1), (scene.animal,)), SIZE)
    landscape = render_landscape(scene.landscape, SIZE)
    edges = [
        measure_detail(blend(*shown, landscape), scene.animal, scene.landscape)[0]
        for shown in (layer, flatten(*layer, np.random.default_rng(0)))
    ]
    assert edges[1] < 0.2 * edges[0]


@pytest.mark.parametrize(
    "made",
    [lambda images: images, pytest.param(partial(decoded, vae=VAE), marks=pytest.mark.long)],
    ids=["drawn", "decoded"],
)
def test_whole_animals_are_told_from_damaged_ones(made, animals):
    images, shown = animals
    assert np.mean(np.array(read_states(made(images))) == shown) >= 0.9


def test_the_reader_is_trained_on_drawings_and_on_decoded_encodings(tmp_path, monkeypatch):
    decode = []
    monkeypatch.setattr(module, "decoded", lambda images, vae: decode.append(images) or images)
    path = train_whole_animal_reader(tmp_path / "reader.safetensors", steps=2, count=6, decoded_count=2)
    (images,) = decode
    assert images.shape == (2, 256, 256, 3)
    assert set(read_states(images, path)) <= set(STATES)
