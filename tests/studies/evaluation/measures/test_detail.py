"""What is to be seen inside an animal: all of a drawing, and nothing of a silhouette."""

import numpy as np
import pytest

from studies.data.animals import TRAINING_DRAWINGS, blend, draw_animal, draw_layer
from studies.data.landscapes import render_landscape
from studies.evaluation.detail import measure_detail
from studies.evaluation.scenes import held_out_scene, render_scene

SEEDS = range(36_500_000, 36_500_010)
SIZE = 256


def detail_of(image, seed):
    scene = held_out_scene(seed)
    return measure_detail(image, scene.animal, scene.landscape)


def silhouette(seed, keep=0.0):
    """The scene's animal in its mean colour, with a share of what it differs by."""
    scene = held_out_scene(seed)
    colors, coverage = draw_layer(
        draw_animal(np.random.default_rng((seed, 1)), (scene.animal,), TRAINING_DRAWINGS), SIZE
    )
    mean = (coverage * colors).sum(axis=(0, 1)) / coverage.sum()
    return blend(mean + keep * (colors - mean), coverage, render_landscape(scene.landscape, SIZE))


def test_a_silhouette_of_one_colour_has_no_edges_inside():
    energy, colors = np.transpose([detail_of(silhouette(seed), seed) for seed in SEEDS])
    found = ~np.isnan(energy)  # a mean may be no colour of the animal's
    assert found.sum() > 4
    assert energy[found].max() < 1
    assert (colors[found] == 1).all()


@pytest.mark.long
def test_edges_grow_with_the_square_of_their_height():
    measured = [detail_of(silhouette(seed, keep), seed)[0] for seed in SEEDS for keep in (0.5, 1.0)]
    half, full = np.reshape(measured, (-1, 2)).T
    known = ~np.isnan(half) & (full > 100)
    assert known.sum() > 4
    assert np.median(half[known] / full[known]) == pytest.approx(0.25, rel=0.3)


def test_drawings_have_several_colours():
    energy, colors = np.transpose([detail_of(render_scene(seed, SIZE), seed) for seed in SEEDS])
    assert energy.min() > 10
    assert colors.mean() > 2.5  # an elephant is gray all over


def test_without_an_animal_there_is_nothing_inside():
    assert np.isnan(detail_of(np.full((SIZE, SIZE, 3), (255, 0, 255), np.uint8), SEEDS[0])).all()
