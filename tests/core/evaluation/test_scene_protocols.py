"""Scenes: what the readers read back, and the measurement from end to end with small experts of random weights."""

from dataclasses import replace

import numpy as np
import pytest
from evaluations import InProcess, biased_reader, evaluate, write_small, write_small_text

from mcdm_core.conditions import TextTower
from mcdm_core.data.animals import ANIMALS, draw_animal, stand_before
from mcdm_core.data.landscapes import ATTRIBUTES, draw_landscape, render_landscape
from mcdm_core.evaluation import sampling, scenes
from mcdm_core.evaluation.landscape_parser import parse_landscape
from mcdm_core.evaluation.scenes import TEST_SEED, VALIDATION_SEED, SceneSetting, held_out_scene, measure_scenes


@pytest.fixture
def experts(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)
    folder = tmp_path / "experts"
    write_small(folder, "animals", {"kind": "class"}, {"num_classes": 1 + len(ANIMALS)})
    write_small_text(folder, "landscapes", TextTower(), "linear")
    return folder


@pytest.fixture
def reader(tmp_path, monkeypatch):
    reader = biased_reader(tmp_path / "animals.safetensors", ANIMALS, "tiger")
    monkeypatch.setattr(scenes, "animal_reader", lambda: reader)
    return reader


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
    asked = [held_out_scene(TEST_SEED + i) for i in range(20)]
    assert {scene.animal for scene in asked} == set(ANIMALS)
    assert all(scene.attributes.keys() == ATTRIBUTES.keys() and scene.caption for scene in asked)
    assert held_out_scene(TEST_SEED) == asked[0]
    assert held_out_scene(VALIDATION_SEED).caption != asked[0].caption


def test_figures_count_what_was_asked_for(reader):
    landscape = draw_landscape(np.random.default_rng(3), object_share=0)
    image = render_landscape(landscape)
    parsed = parse_landscape(image)
    tiger = replace(held_out_scene(TEST_SEED), animal="tiger", attributes=parsed)
    other = next(value for value in ATTRIBUTES["sky"] if value != parsed["sky"])
    fox = replace(tiger, animal="fox", attributes=parsed | {"sky": other})
    figures = measure_scenes(np.stack([image, image]), [tiger, fox], reader)
    assert figures["animal"].value == 0.5
    assert (figures["sky"].value, figures["orb"].value, figures["hills"].value) == (0.5, 1.0, 1.0)
    assert figures["landscape"].value == pytest.approx(5 / 6)


def run(what, experts, out):
    return evaluate(what, experts, out, "--count", "2", "--scene-weight", "3")["table"]


def test_scenes_are_measured_united_alone_and_at_three_reliabilities(experts, reader, tmp_path):
    table = run("scenes", experts, tmp_path / "out")
    assert list(table) == [
        "united, w = 3, a = 1/2",
        "class expert alone, w = 3",
        "text expert alone, w = 3",
        "united, w = 3, a = 0 for the class expert",
        "united, w = 3, a = 1 for the class expert",
    ]
    assert all(row.keys() == {"animal", *ATTRIBUTES, "landscape"} for row in table.values())


def test_weights_are_compared_on_validation_scenes(experts, reader, tmp_path, monkeypatch):
    seeds = set()

    def seen(seed):
        seeds.add(seed)
        return held_out_scene(seed)

    monkeypatch.setattr(scenes, "held_out_scene", seen)
    assert len(run("choose-scene-weight", experts, tmp_path / "out")) == len(scenes.SCENE_WEIGHTS)
    assert seeds == {VALIDATION_SEED, VALIDATION_SEED + 1}


def test_samples_are_filed_by_what_decides_them(experts):
    base = SceneSetting("a", {"animals": 2.0, "landscapes": 2.0}, 0.5, TEST_SEED, 2, 1, 0.0)
    assert base.key(experts) == replace(base, name="b").key(experts)
    assert base.key(experts) != replace(base, reliability=1.0).key(experts)
    key = base.key(experts)
    with (experts / "animals.safetensors").open("ab") as file:  # trained on
        file.write(b"0")
    assert base.key(experts) != key
