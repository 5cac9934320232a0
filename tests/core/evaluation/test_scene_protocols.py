"""Scenes: what the readers read back, and the measurement from end to end with small experts of random weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mcdm_core import ExpertMetadata, UNet, UNetConfig, save_expert
from mcdm_core.conditions import TextTower
from mcdm_core.data.animals import ANIMALS, draw_animal, stand_before
from mcdm_core.data.landscapes import ATTRIBUTES, draw_landscape, render_landscape
from mcdm_core.evaluation import main, scenes
from mcdm_core.evaluation.animals import WIDTH, AnimalReader
from mcdm_core.evaluation.landscape_parser import parse_landscape
from mcdm_core.evaluation.scenes import TEST_SEED, VALIDATION_SEED, SceneSetting, held_out_scene, measure_scenes
from mcdm_core.networks.image_encoder import ImageEncoder


class InProcess:
    """Stands where the process pool does: what runs in a child is not seen by a coverage report."""

    def __init__(self, *arguments, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def map(self, function, jobs):
        return map(function, jobs)


@pytest.fixture
def experts(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "ProcessPoolExecutor", InProcess)
    folder = tmp_path / "experts"
    folder.mkdir()
    tower = TextTower()
    kinds = {
        "animals": ({"num_classes": 1 + len(ANIMALS)}, {"kind": "class"}, "cosine", None),
        "landscapes": (
            {"pooled_dim": tower.config.dim},
            {"kind": "text", "text_encoder": tower.config.to_dict()},
            "linear",
            tower,
        ),
    }
    for name, (reads, condition, schedule, text_tower) in kinds.items():
        config = UNetConfig(
            model_channels=32, num_res_blocks=1, channel_mult=(1,), attention_downsamplings=(), patch=8, **reads
        )
        metadata = ExpertMetadata(name, network=config, image_size=64, condition=condition, schedule=schedule)
        save_expert(folder / f"{name}.safetensors", UNet(config), metadata, text_tower)
    return folder


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A reader that takes every animal for a tiger."""
    network = ImageEncoder(len(ANIMALS), WIDTH)
    with torch.no_grad():
        network.head[-1].bias[ANIMALS.index("tiger")] += 1000
    path = tmp_path / "animals.safetensors"
    save_file({key: value.half() for key, value in network.state_dict().items()}, path)
    monkeypatch.setattr(scenes, "AnimalReader", lambda: AnimalReader(path))
    return AnimalReader(path)


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
    assert figures["animal"].mean == 0.5
    assert (figures["sky"].mean, figures["orb"].mean, figures["hills"].mean) == (0.5, 1.0, 1.0)
    assert figures["landscape"].mean == pytest.approx(5 / 6)


def run(what, experts, out):
    arguments = ["--experts", str(experts), "--out", str(out), "--count", "2", "--steps", "1", "--workers", "1"]
    assert main([what, *arguments, "--scene-weight", "3"]) == 0
    return json.loads((out / f"{what}.json").read_text(encoding="utf-8"))["table"]


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
