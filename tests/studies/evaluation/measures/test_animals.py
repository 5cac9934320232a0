"""Animals of scenes: rings of a wrong colour round them, what is to be seen inside, and those that aren't whole."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from studies.data.animals import (
    ANIMALS,
    TRAINING_DRAWINGS,
    blend,
    cover_circles,
    draw_animal,
    draw_layer,
    stand_before,
)
from studies.data.landscapes import render_landscape
from studies.evaluation.animal_eyes import EYES
from studies.evaluation.decoded import decoded
from studies.evaluation.detail import measure_detail
from studies.evaluation.face_reader import VAE
from studies.evaluation.ring import ring_share
from studies.evaluation.scenes import held_out_scene, render_scene
from studies.evaluation.whole_animals import (
    DAMAGES,
    STATES,
    blind,
    draw_whole_and_damaged,
    flatten,
    read_states,
)
from studies.metrics import widened

SEEDS = range(36_500_000, 36_500_010)
SIZE = 256


def measured(measure, image, seed):
    """Of a picture of a scene."""
    scene = held_out_scene(seed)
    return measure(image, scene.animal, scene.landscape)


def ringed(seed, color, pixels):
    """A scene whose animal has a ring of that colour and width round it."""
    scene = held_out_scene(seed)
    animal = draw_animal(np.random.default_rng((seed, 1)), (scene.animal,), TRAINING_DRAWINGS)
    scenery = render_landscape(scene.landscape, SIZE).copy()
    before = [stand_before(animal, np.full_like(scenery, shade)) for shade in (0, 255)]
    scenery[widened((before[0] == before[1]).all(axis=-1), pixels)] = color
    return stand_before(animal, scenery)


def test_drawn_scenes_have_none():
    shares = [measured(ring_share, render_scene(seed, SIZE), seed) for seed in SEEDS]
    assert shares == pytest.approx([0] * 10, abs=0.005)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("color", [(255, 0, 255), (0, 255, 255)])
def test_a_ring_is_its_share_of_the_band(color):
    for seed in SEEDS[:4]:
        narrow, wide = (measured(ring_share, ringed(seed, color, n), seed) for n in (10, 20))
        assert 0.25 < narrow < 0.5
        assert wide > 0.7


def test_blends_of_two_colours_are_no_ring():
    assert measured(ring_share, ringed(SEEDS[0], (255, 0, 255), 2), SEEDS[0]) < 0.01


@pytest.mark.parametrize("measure", [ring_share, measure_detail])
def test_without_an_animal_there_is_no_band_round_it_and_nothing_inside(measure):
    assert np.isnan(measured(measure, np.full((SIZE, SIZE, 3), (255, 0, 255), np.uint8), SEEDS[0]))


def silhouette(seed, keep=0.0):
    """The scene's animal in its mean colour, with a share of what it differs by."""
    scene = held_out_scene(seed)
    colors, coverage = draw_layer(
        draw_animal(np.random.default_rng((seed, 1)), (scene.animal,), TRAINING_DRAWINGS), SIZE
    )
    mean = (coverage * colors).sum(axis=(0, 1)) / coverage.sum()
    return blend(mean + keep * (colors - mean), coverage, render_landscape(scene.landscape, SIZE))


def test_a_silhouette_of_one_colour_has_no_edges_inside():
    energy = np.array([measured(measure_detail, silhouette(seed), seed) for seed in SEEDS])
    found = ~np.isnan(energy)  # a mean may be no colour of the animal's
    assert found.sum() > 4
    assert energy[found].max() < 1


@pytest.mark.long
def test_edges_grow_with_the_square_of_their_height():
    energies = [measured(measure_detail, silhouette(seed, keep), seed) for seed in SEEDS for keep in (0.5, 1.0)]
    half, full = np.reshape(energies, (-1, 2)).T
    known = ~np.isnan(half) & (full > 100)
    assert known.sum() > 4
    assert np.median(half[known] / full[known]) == pytest.approx(0.25, rel=0.3)


def test_drawings_have_edges_inside():
    assert min(measured(measure_detail, render_scene(seed, SIZE), seed) for seed in SEEDS) > 10


COUNT = 60


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
    scene = held_out_scene(SEEDS[0])
    layer = draw_layer(draw_animal(np.random.default_rng(1), (scene.animal,)), SIZE)
    landscape = render_landscape(scene.landscape, SIZE)
    edges = [
        measured(measure_detail, blend(*shown, landscape), SEEDS[0])
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


@pytest.mark.parametrize("drawing", EYES)
@pytest.mark.parametrize("name", [name for name in ANIMALS if name != "butterfly"])
def test_eyes_are_taken_from_an_animal_and_nothing_else(drawing, name):
    animal = replace(draw_animal(np.random.default_rng(0)), name=name, drawing=drawing)
    colors, coverage = draw_layer(animal, SIZE)
    eyes = cover_circles(animal, EYES[drawing][name], SIZE)
    left = [blind(colors, coverage, eyes, np.random.default_rng(seed)) for seed in range(8)]
    changes = np.abs(np.array(left) - colors).mean(axis=-1, keepdims=True)
    assert not changes[:, eyes.max(axis=0) == 0].any()
    lost = np.array([[(change * eye).sum() / eye.sum() > 8 for eye in eyes] for change in changes])
    assert lost.any(axis=0).all()  # what stood in each circle was an eye, and not plain fur
    assert lost.any(axis=1).all()
    assert len(eyes) == 1 or not lost.all()  # sometimes one alone
