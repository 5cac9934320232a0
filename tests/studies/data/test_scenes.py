"""Drawn landscapes and animals: exact captions, reproducible seeds, and supports that meet."""

import dataclasses

import numpy as np
import pytest

from studies.data.animals import (
    ANIMALS,
    HELD_OUT_DRAWINGS,
    TRAINING_DRAWINGS,
    draw_animal,
    draw_background,
    stand_before,
)
from studies.data.landscape_captions import landscape_caption
from studies.data.landscapes import ATTRIBUTES, HILL_COLORS, ORB_COLORS, SKY_COLORS, draw_landscape, render_landscape


def close_to(image, color, tolerance=12):
    return (np.abs(image.astype(int) - np.array(color)).max(axis=-1) <= tolerance).mean()


@pytest.mark.parametrize("seed", range(8))
def test_a_landscape_shows_the_colours_of_its_attributes(seed):
    landscape = draw_landscape(np.random.default_rng(seed), object_share=0)
    image, values = render_landscape(landscape), landscape.attributes
    assert image.shape == (64, 64, 3)
    assert close_to(image[:4], SKY_COLORS[values["sky"]]) > 0.5
    assert sum(close_to(image[40:], color) for color in HILL_COLORS[values["hills"]]) > 0.8
    for orb, color in ORB_COLORS.items():
        if color is not None and (orb == values["orb"] or values["hills"] != "white"):  # snow is as bright as the moon
            assert (close_to(image[:26], color) > 0.01) == (orb == values["orb"])


def test_a_seed_always_draws_the_same_landscape_and_objects_cover_little_of_it():
    landscapes = [draw_landscape(np.random.default_rng(seed), object_share=1) for seed in range(8)]
    assert landscapes[3] == draw_landscape(np.random.default_rng(3), object_share=1)
    for landscape in landscapes:
        bare = dataclasses.replace(landscape, foreground="")
        covered = (render_landscape(landscape) != render_landscape(bare)).any(axis=-1)
        assert 0.02 < covered.mean() < 0.45
        assert not covered[:10].any()  # the sky, where sun and moon are


@pytest.mark.parametrize("drawing", TRAINING_DRAWINGS + HELD_OUT_DRAWINGS)
def test_every_drawing_shows_an_animal_of_its_own(drawing):
    rng = np.random.default_rng(0)
    placed = draw_animal(rng, drawings=[drawing])
    gray = np.full((64, 64, 3), 127, dtype=np.uint8)
    pictures = [stand_before(dataclasses.replace(placed, name=name), gray) for name in ANIMALS]
    for i, picture in enumerate(pictures):
        assert 0.05 < (picture != gray).any(axis=-1).mean() < 0.5
        assert all((picture != other).any() for other in pictures[:i])


def test_no_expert_is_trained_on_held_out_drawings():
    assert not set(TRAINING_DRAWINGS) & set(HELD_OUT_DRAWINGS)
    drawings = {draw_animal(np.random.default_rng(seed)).drawing for seed in range(50)}
    assert drawings == set(TRAINING_DRAWINGS)


def test_backgrounds_of_animals_have_every_colour_of_the_landscapes():
    backgrounds = np.stack([draw_background(np.random.default_rng(seed)) for seed in range(150)])
    for name, color in SKY_COLORS.items():
        share = np.mean([close_to(image[:4], color) > 0.5 for image in backgrounds])
        assert share > 0.08, name
    for name, colors in HILL_COLORS.items():
        share = np.mean([sum(close_to(image[40:], color) for color in colors) > 0.6 for image in backgrounds])
        assert share > 0.08, name


def test_captions_name_what_they_are_asked_to_name_and_nothing_else():
    rng = np.random.default_rng(0)
    attributes = {"sky": "red", "orb": "moon", "hills": "green"}
    for _ in range(40):
        caption = landscape_caption(attributes, rng, ["hills"])
        assert any(word in caption for word in ("hills", "mountains"))
        assert not any(word in caption for word in ("sky", "moon", "sun", "red"))
    assert len({landscape_caption(attributes, rng) for _ in range(40)}) > 25
    for names in ([], ["sky", "trees"]):
        with pytest.raises(ValueError, match="names among sky, orb, hills"):
            landscape_caption(attributes, rng, names)


def test_every_value_is_drawn():
    drawn = [draw_landscape(np.random.default_rng(seed)).attributes for seed in range(100)]
    assert all({attributes[name] for attributes in drawn} == set(values) for name, values in ATTRIBUTES.items())
