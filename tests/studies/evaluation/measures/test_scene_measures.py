"""Held-out scenes: what experts are told of them, and what the readers read back."""

import numpy as np
import pytest
import torch

from mcdm_core.conditions import ClassEncoder, MapEncoder, TextEncoder
from mcdm_core.networks import TextTower, TextTowerConfig
from mcdm_core.text.vocabulary import gather_vocabulary
from studies.data.animals import ANIMALS, draw_animal, stand_before
from studies.data.landscapes import ATTRIBUTES, draw_landscape, render_landscape
from studies.evaluation import held_out
from studies.evaluation import scenes as scenes_module
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.kinds import open_held_out
from studies.evaluation.landscape_parser import parse_landscape
from studies.evaluation.scenes import held_out_scene, render_scene

from ....support.evaluations import biased_reader

COUNT = 5
DATA = DataConfig("scenes", seed=36_500_000, count=COUNT)
NEXT = [1, 2, 3, 4, 0]
FACTS, ALL = "all of the landscape", "all with the animal"


@pytest.fixture(scope="module")
def scenes():
    return open_held_out(DATA)


@pytest.mark.parametrize("animals", [False, True])
def test_the_parser_reads_drawn_landscapes(animals):
    right = {name: [] for name in ATTRIBUTES}
    for seed in range(34_000_000, 34_000_040):
        rng = np.random.default_rng(seed)
        landscape = draw_landscape(rng, object_share=0)
        image = render_landscape(landscape)
        parsed = parse_landscape(stand_before(draw_animal(rng), image) if animals else image)
        for name in ATTRIBUTES:
            right[name].append(parsed[name] == landscape.attributes[name])
    assert {name: np.mean(values) >= 0.85 for name, values in right.items()} == dict.fromkeys(ATTRIBUTES, True)


def test_held_out_scenes_name_everything_and_go_through_the_animals():
    asked = [held_out_scene(DATA.seed + i) for i in range(20)]
    assert {scene.animal for scene in asked} == set(ANIMALS)
    assert all(scene.landscape.attributes.keys() == ATTRIBUTES.keys() and scene.caption for scene in asked)
    assert held_out_scene(DATA.seed) == asked[0]
    assert len({scene.caption for scene in asked}) > 15


def test_real_scenes_are_the_ceiling(scenes):
    measured = scenes.measure("scene", scenes.images, None)
    assert list(measured) == ["animal", FACTS, ALL, "landscape", *ATTRIBUTES]
    assert measured["animal"].mean() >= 0.8
    assert measured["landscape"].mean() >= 0.8


def test_each_picture_is_right_or_wrong(scenes, tmp_path, monkeypatch):
    read_animals = biased_reader(tmp_path / "animals.safetensors", ANIMALS, scenes.scenes[2].animal)
    monkeypatch.setattr(scenes_module, "read_animals", read_animals)
    measured = scenes.measure("scene", scenes.images, None)
    assert measured["animal"].tolist() == [float(s.animal == scenes.scenes[2].animal) for s in scenes.scenes]
    parsed = [parse_landscape(image) for image in scenes.images]
    for name in ATTRIBUTES:
        shown = [float(p[name] == s.landscape.attributes[name]) for p, s in zip(parsed, scenes.scenes, strict=True)]
        assert measured[name].tolist() == shown
    facts = np.array([measured[name] for name in ATTRIBUTES])
    assert measured["landscape"] == pytest.approx(facts.mean(axis=0))
    assert measured[FACTS].tolist() == facts.all(axis=0).tolist()
    assert measured[ALL].tolist() == [*map(min, measured[FACTS], measured["animal"])]


def test_samples_are_measured_against_what_they_were_asked_for(scenes):
    """Picture i shows the animal of scene i + 1, or its landscape, or both."""
    terms = (TermConfig("animals", ("class",), shift=1), TermConfig("landscapes", ("text",), shift=1))
    real = scenes.measure("scene", scenes.images, None)
    both = scenes.measure("scene", scenes.images[NEXT], Setting("", terms))
    animal = scenes.measure("scene", scenes.images[NEXT], Setting("", terms[:1]))
    assert all(np.array_equal(both[name], real[name][NEXT]) for name in real)
    assert np.array_equal(animal["animal"], real["animal"][NEXT])
    assert animal["landscape"].mean() < real["landscape"].mean() - 0.1  # not asked for: compared with its own
    own = scenes.measure("scene", scenes.images, Setting("", terms))
    assert own["animal"].sum() == 0


def test_experts_are_told_of_the_scenes(scenes):
    words = gather_vocabulary((scene.caption for scene in scenes.scenes), 200)
    tower = TextTower(TextTowerConfig(words, lexicon="plain"))
    text = scenes.encode("text", TextEncoder(tower, 64), [3, 0])
    assert torch.equal(text.embedding, tower.encode([scenes.scenes[3].caption, scenes.scenes[0].caption]))
    assert not torch.equal(*text.embedding)
    labels = scenes.encode("class", ClassEncoder(torch.zeros(1 + len(ANIMALS), 4), 64), [3, 0]).labels
    assert [ANIMALS[label - 1] for label in labels.tolist()] == [scenes.scenes[3].animal, scenes.scenes[0].animal]
    with pytest.raises(ValueError, match="Scenes have a class and a text, and no hair"):
        scenes.encode("hair", MapEncoder("hair", 64), [0])
    with pytest.raises(ValueError, match="no hair maps"):
        scenes.map_of("hair", [0])
    assert (scenes.tile("class", 3), scenes.tile("text", 3)) == (scenes.scenes[3].animal, scenes.scenes[3].caption)


def test_the_distance_is_measured_to_further_scenes(scenes, monkeypatch):
    monkeypatch.setattr(held_out, "COMPARED", 2)
    assert np.array_equal(scenes.compared()[1], render_scene(DATA.seed + 500_001))
