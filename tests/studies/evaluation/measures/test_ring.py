"""Rings of a wrong colour round animals: none in drawings, large where one is drawn."""

import numpy as np
import pytest

from studies.data.animals import TRAINING_DRAWINGS, draw_animal, stand_before
from studies.data.landscapes import render_landscape
from studies.evaluation.ring import ring_share
from studies.evaluation.scenes import held_out_scene, render_scene
from studies.metrics import widened

FIRST = 36_500_000
SIZE = 256


def ringed(seed, color, pixels):
    """A scene whose animal has a ring of that colour and width round it."""
    scene = held_out_scene(seed)
    animal = draw_animal(np.random.default_rng((seed, 1)), (scene.animal,), TRAINING_DRAWINGS)
    scenery = render_landscape(scene.landscape, SIZE).copy()
    before = [stand_before(animal, np.full_like(scenery, shade)) for shade in (0, 255)]
    scenery[widened((before[0] == before[1]).all(axis=-1), pixels)] = color
    return stand_before(animal, scenery)


def test_drawn_scenes_have_none():
    shares = []
    for seed in range(FIRST, FIRST + 10):
        scene = held_out_scene(seed)
        shares.append(ring_share(render_scene(seed, SIZE), scene.animal, scene.landscape))
    assert shares == pytest.approx([0] * 10, abs=0.005)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("color", [(255, 0, 255), (0, 255, 255)])
def test_a_ring_is_its_share_of_the_band(color):
    for seed in range(FIRST, FIRST + 4):
        scene = held_out_scene(seed)
        narrow, wide = (ring_share(ringed(seed, color, n), scene.animal, scene.landscape) for n in (10, 20))
        assert 0.25 < narrow < 0.5
        assert wide > 0.7


def test_blends_of_two_colours_are_no_ring():
    scene = held_out_scene(FIRST)
    assert ring_share(ringed(FIRST, (255, 0, 255), 2), scene.animal, scene.landscape) < 0.01


def test_without_an_animal_there_is_no_band():
    scene = held_out_scene(FIRST)
    assert np.isnan(ring_share(np.full((SIZE, SIZE, 3), (255, 0, 255), np.uint8), scene.animal, scene.landscape))
