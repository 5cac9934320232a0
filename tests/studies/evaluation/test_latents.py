"""Experts of latents, measured on pictures of 256 pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mcdm_core.networks import TextTower, TextTowerConfig
from mcdm_core.text.vocabulary import gather_vocabulary
from studies.cli import main
from studies.data.animals import ANIMALS
from studies.evaluation import held_out, sampling
from studies.evaluation.config import DataConfig, Setting, TermConfig, load_evaluation
from studies.evaluation.decoded import decoded
from studies.evaluation.kinds import open_held_out
from studies.evaluation.predictions import SIGMAS, measure_predictions
from studies.evaluation.row import DECODED, REAL
from studies.evaluation.run import Evaluation
from studies.evaluation.sampling import sample_key, vae_of
from studies.evaluation.scenes import held_out_scene

from ...support.evaluations import InProcess, write_evaluation, write_small_latent, write_small_vae
from ...support.tiny_runs import csv_rows

CONFIGS = Path(__file__).parents[3] / "studies" / "configs" / "evaluate"
FACES = DataConfig("faces", seed=25_000_000, count=2, image_size=256)
SCENES = DataConfig("scenes", seed=36_500_000, count=2, image_size=256)
MAPS = (TermConfig("hair", ("hair",)), TermConfig("skin", ("skin",)))
UNITED = Setting("united", MAPS, steps=1)


def data_of(config):
    return f'kind = "{config.kind}"\nseed = {config.seed}\ncount = {config.count}\nimage_size = 256'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Experts of each modality, and the VAE of their latents."""
    folder = tmp_path_factory.mktemp("latents")
    experts = folder / "experts"
    torch.manual_seed(0)
    key = write_small_vae(experts)
    for name in ("hair", "skin"):
        write_small_latent(experts, name, {"kind": "map", "map": name}, {"map_channels": 64}, key)
    write_small_latent(experts, "sketch", {"kind": "sketch"}, {"map_channels": 64}, key)
    words = gather_vocabulary([held_out_scene(SCENES.seed + i).caption for i in range(2)], 200)
    for name, tower in (("text", TextTower()), ("landscapes", TextTower(TextTowerConfig(words, lexicon="plain")))):
        condition = {"kind": "text", "text_encoder": tower.config.to_dict()}
        write_small_latent(experts, name, condition, {"pooled_dim": tower.config.dim}, key, tower)
    classes = {"kind": "class", "classes": ["any animal", *ANIMALS]}
    write_small_latent(experts, "animals", classes, {"num_classes": 1 + len(ANIMALS)}, key)
    return folder


@pytest.fixture
def experts(folder):
    return {path.stem: path for path in (folder / "experts").iterdir()}


@pytest.fixture
def evaluate(folder, tmp_path, monkeypatch):
    """Evaluates settings; gives row → measures."""
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)

    def run(config, settings, *experts):
        path = write_evaluation(folder / f"{tmp_path.name}.toml", data_of(config), experts, settings)
        where = ["--out", str(tmp_path / "out"), "--samples", str(tmp_path / "samples"), "--workers", "1"]
        assert main(["evaluate", str(path), *where]) == 0
        out = tmp_path / "out" / path.stem
        measured = {}
        for row in csv_rows(out / "figures.csv"):
            measured.setdefault(row["setting"], {})[row["measure"]] = float(row["figure"])
        return measured, (out / "table.md").read_text("utf-8")

    return run


def test_faces_are_measured_at_256_pixels(evaluate):
    maps = '{ expert = "hair", condition = "hair" }, { expert = "skin", condition = "skin" }'
    settings = {
        "all": f'terms = [{maps}, {{ expert = "sketch", condition = "sketch" }}]',
        "another face's caption": f'terms = [{maps}, {{ expert = "text", condition = "text", shift = 1 }}]',
    }
    measured, table = evaluate(FACES, settings, "hair", "skin", "sketch", "text")
    assert list(measured) == [REAL, DECODED, *settings]
    assert "2 faces of the seeds 25000000 to 25000001, of 256 pixels" in table
    assert measured[REAL]["hair IoU"] > 0.9
    assert measured[REAL]["stripes"] < 0.1
    assert measured[REAL]["both eyes"] == measured[REAL]["kind of eyes"] == 1
    assert {"SSIM", "edge F1", "hair IoU", "stripes", "attributes"} <= measured[DECODED].keys()
    assert {"edge F1", "both eyes", "kind of eyes", "SSIM"} <= measured["all"].keys()
    beside = measured["another face's caption"].keys()
    assert {"attributes", "hair IoU", "both eyes"} <= beside
    assert not {"SSIM", "edge F1", "kind of eyes"} & beside


@pytest.mark.long
def test_scenes_are_measured_at_256_pixels(evaluate):
    animal, text = '{ expert = "animals", condition = "class" }', '{ expert = "landscapes", condition = "text" }'
    settings = {"united": f"terms = [{animal}, {text}]", "class alone": f"terms = [{animal}]"}
    measured, _ = evaluate(SCENES, settings, "animals", "landscapes")
    assert list(measured) == [REAL, DECODED, *settings]
    assert measured[REAL]["animal"] == measured[REAL]["landscape"] == 1
    assert measured[REAL]["ring"] == 0
    assert measured[REAL]["stripes"] < 0.1
    assert {"animal", "sky", "orb", "hills", "landscape"} <= measured["united"].keys()
    assert "ring" not in measured["class alone"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*256.toml")), ids=lambda path: path.stem)
def test_configurations_name_measures_and_experts_that_there_are(path, experts, tmp_path):
    config = load_evaluation(path)
    config = replace(config, experts={**config.experts, **experts})
    evaluation = Evaluation(config, tmp_path, tmp_path, 1)
    assert config.data.image_size == 256
    assert config.measures or "stripes" in evaluation.groups  # where a configuration names no measures


def test_a_better_decoder_draws_other_samples(experts, tmp_path, monkeypatch):
    key = sample_key(UNITED, FACES, experts)
    assert key == sample_key(UNITED, FACES, experts) != sample_key(UNITED, replace(FACES, image_size=64), experts)
    better = tmp_path / "better.safetensors"
    better.write_bytes(vae_of(experts["hair"]).read_bytes() + b"0")
    monkeypatch.setattr(sampling, "vae_of", lambda path: better)
    assert sample_key(UNITED, FACES, experts) != key


def test_predictions_are_of_latents(experts):
    errors = measure_predictions(UNITED, experts, open_held_out(FACES), 1)
    assert len(errors) == len(SIGMAS)
    assert all(np.isfinite(values).all() for values in errors.values())


def test_encodings_are_decoded_picture_by_picture(experts):
    images = open_held_out(FACES).images
    both = decoded(images, vae_of(experts["hair"]))
    assert both.shape == images.shape
    assert np.array_equal(decoded(images[1:], vae_of(experts["hair"]))[0], both[1])


def test_flat_areas_are_those_of_what_is_asked_for():
    faces = open_held_out(FACES)
    shifted = replace(UNITED, terms=(MAPS[0], replace(MAPS[1], shift=1)))
    of_drawing, of_both = (faces._flat(2, setting) for setting in (UNITED, shifted))
    values = {"drawing": faces.images[0], "hair": faces[0].maps["hair"], "skin": faces[1].maps["skin"]}
    for flat, names in ((of_drawing[0], ["drawing"]), (of_both[0], ["hair", "skin"])):
        assert 0.5 < flat.mean() < 1
        for y, x in np.argwhere(flat)[::500]:
            for name in names:
                assert (values[name][y - 1 : y + 2, x - 1 : x + 2] == values[name][y, x]).all()


def test_the_distance_is_measured_to_pictures_of_the_same_size(monkeypatch):
    monkeypatch.setattr(held_out, "COMPARED", 1)
    for config in (FACES, SCENES):
        assert open_held_out(config).compared().shape == (1, 256, 256, 3)
