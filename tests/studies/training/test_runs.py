"""Runs on drawn pictures, also of scenes, and configurations that cannot be trained."""

import numpy as np
import pytest
import torch

from mcdm_core import load_expert, read_metadata
from mcdm_core.networks import TextTower
from mcdm_core.training.config import load_config
from studies.cli import main, train
from studies.data.faces import DRAWING_VERSION
from studies.data.landscapes import ATTRIBUTES
from studies.training import landscape_tower
from studies.training.animals import CLASSES, AnimalKind
from studies.training.landscapes import LandscapeKind

from ...support.tiny_runs import write_config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": 'kind = "animals"\nmodalities = ["class"]', "network": "", "top": ""}, "set num_classes = 11"),
        ({"data": 'kind = "films"'}, "'animals' or 'product'"),
        ({"data": 'kind = "faces"\nmodalities = ["hair", "nose"]', "top": "image_size = 64"}, "not 'nose'"),
        ({"data": 'kind = "faces"\nmodalities = ["hair", "skin"]'}, "drawn at 64 pixels"),
        ({"data": 'kind = "faces"\nmodalities = ["text"]', "top": "image_size = 64"}, "needs a dual encoder"),
    ],
)
def test_a_configuration_that_cannot_be_trained_is_refused_in_a_sentence(tmp_path, change, sentence, capsys):
    config = write_config(tmp_path / "wrong.toml", **({"network": "map_channels = 2"} | change))
    with pytest.raises(ValueError, match=sentence):
        train(config, tmp_path / "runs")
    assert main(["train", str(config), "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_faces_are_drawn_once_and_a_channel_a_map(tmp_path):
    data = 'kind = "faces"\nmodalities = ["hair", "skin"]\ncount = 6\nseed = 40_000_000'
    report = "held_out_every = 2\nheld_out = 2\nsamples = 1\nsample_steps = 1"
    options = {"data": data, "top": "", "steps": 2, "report": report}
    config = write_config(tmp_path / "drawn.toml", network="map_channels = 2", **options)
    config.write_text(config.read_text().replace("patch = 2", "patch = 8"))
    expert = load_expert(train(config, tmp_path / "runs"))
    assert expert.metadata["condition"] == {"kind": "maps", "maps": ["hair", "skin"]}
    drawn = sorted((tmp_path / "runs" / "data").iterdir())
    assert [path.name for path in drawn] == [
        f"faces{DRAWING_VERSION}_40000000_6_hair-skin_uniform.npz",
        f"faces{DRAWING_VERSION}_40000006_2_hair-skin_uniform.npz",
    ]
    times = [path.stat().st_mtime_ns for path in drawn]
    train(config, tmp_path / "runs", "state")
    assert [path.stat().st_mtime_ns for path in drawn] == times
    with np.load(drawn[0]) as training, np.load(drawn[1]) as held_out:
        assert not any(np.array_equal(one, other) for one in training["images"] for other in held_out["images"])


REPORT = "held_out_every = 2\nheld_out = 2\nsamples = 1\nsample_steps = 1"


@pytest.fixture
def short_tower(monkeypatch):
    train = landscape_tower.train_tower
    monkeypatch.setattr(landscape_tower, "train_tower", lambda tower: train(tower, steps=2, batch_size=4))


def trained(folder, kind, modality, network):
    data = f'kind = "{kind}"\nmodalities = ["{modality}"]\ncount = 6\nseed = 41_000_000'
    config = write_config(folder / f"{kind}.toml", data=data, network=network, top="", steps=2, report=REPORT)
    config.write_text(config.read_text().replace("patch = 2", "patch = 8"))
    return read_metadata(train(config, folder / "runs"))


def test_an_expert_of_animals_reads_classes_of_which_the_first_is_any(tmp_path):
    metadata = trained(tmp_path, "animals", "class", "num_classes = 11")
    assert metadata.condition == {"kind": "class", "classes": list(CLASSES)}
    assert metadata.card["data"] == "6 animals, seed 41000000"
    config = load_config(tmp_path / "animals.toml")
    pictures = AnimalKind().prepare(config, tmp_path, tmp_path / "runs" / "data", None).training
    x0, condition = pictures.batch("class", 20, np.random.default_rng(0))
    assert x0.shape == (20, 3, 64, 64)
    assert condition.labels.min() >= 1
    assert condition.labels.max() <= 10


def test_an_expert_of_landscapes_carries_the_tower_that_read_its_captions(tmp_path, short_tower):
    metadata = trained(tmp_path, "landscapes", "text", f"pooled_dim = {landscape_tower.EMBEDDING_DIM}")
    assert metadata.condition["kind"] == "text"
    assert {"the", "sun", ",", "hills"} <= set(metadata.condition["text_encoder"]["vocabulary"])
    cache = tmp_path / "runs" / "data"
    tower = landscape_tower.landscape_tower(cache)
    assert isinstance(tower, TextTower)
    stored = sorted(path.name for path in cache.iterdir() if path.name.startswith("landscape_tower"))
    assert stored == ["landscape_tower1.safetensors"]

    torch.manual_seed(5)
    own = TextTower(landscape_tower.landscape_tower_config())  # of an expert that a run begins with
    again = [landscape_tower.landscape_tower(cache, given).encode(["red sky"]) for given in (own, None)]
    assert torch.equal(*again)
    assert not torch.equal(again[0], tower.encode(["red sky"]))
    config = load_config(tmp_path / "landscapes.toml")
    pictures = LandscapeKind().prepare(config, tmp_path, cache, tower).training
    x0, condition = pictures.batch("text", 5, np.random.default_rng(0))
    assert x0.shape == (5, 3, 64, 64)
    assert condition.embedding.shape == (5, sum(map(len, ATTRIBUTES.values())))


@pytest.mark.long
def test_a_tower_learns_what_captions_name():
    tower = TextTower(landscape_tower.landscape_tower_config())
    rng = np.random.default_rng(1)
    captions, targets = zip(*(landscape_tower.random_caption(rng) for _ in range(64)), strict=True)
    targets = torch.from_numpy(np.stack(targets))
    before = (tower.encode(captions) - targets).square().mean().item()
    landscape_tower.train_tower(tower, steps=60, batch_size=32)
    assert (tower.encode(captions) - targets).square().mean().item() < min(before, 0.1)
    assert not tower.encode([""]).any()
