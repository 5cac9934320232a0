"""Training sets and runs of the scene experts."""

import numpy as np
import pytest
import torch

from mcdm_core import read_metadata
from mcdm_core.networks import TextTower
from mcdm_core.training.config import load_config
from studies import cli
from studies.data.landscapes import ATTRIBUTES
from studies.training import landscape_tower
from studies.training.animals import CLASSES, AnimalKind
from studies.training.landscapes import LandscapeKind

from ...support.tiny_runs import write_config

REPORT = "held_out_every = 2\nheld_out = 2\nsamples = 1\nsample_steps = 1"


@pytest.fixture
def short_tower(monkeypatch):
    train = landscape_tower.train_tower
    monkeypatch.setattr(landscape_tower, "train_tower", lambda tower: train(tower, steps=2, batch_size=4))


def train(folder, kind, modality, network):
    data = f'kind = "{kind}"\nmodalities = ["{modality}"]\ncount = 6\nseed = 41_000_000'
    config = write_config(folder / f"{kind}.toml", data=data, network=network, top="", steps=2, report=REPORT)
    config.write_text(config.read_text().replace("patch = 2", "patch = 8"))
    return read_metadata(cli.train(config, folder / "runs"))


def test_an_expert_of_animals_reads_classes_of_which_the_first_is_any(tmp_path):
    metadata = train(tmp_path, "animals", "class", "num_classes = 11")
    assert metadata.condition == {"kind": "class", "classes": list(CLASSES)}
    assert metadata.card["data"] == "6 animals, seed 41000000"
    config = load_config(tmp_path / "animals.toml")
    pictures = AnimalKind().prepare(config, tmp_path, tmp_path / "runs" / "data", None).training
    x0, condition = pictures.batch("class", 20, np.random.default_rng(0))
    assert x0.shape == (20, 3, 64, 64)
    assert condition.labels.min() >= 1
    assert condition.labels.max() <= 10


def test_an_expert_of_landscapes_carries_the_tower_that_read_its_captions(tmp_path, short_tower):
    metadata = train(tmp_path, "landscapes", "text", f"pooled_dim = {landscape_tower.EMBEDDING_DIM}")
    assert metadata.condition["kind"] == "text"
    assert {"the", "sun", ",", "hills"} <= set(metadata.condition["text_encoder"]["vocabulary"])
    cache = tmp_path / "runs" / "data"
    tower = landscape_tower.landscape_tower(cache)
    assert isinstance(tower, TextTower)
    stored = sorted(path.name for path in cache.iterdir() if path.name.startswith("landscape_tower"))
    assert stored == ["landscape_tower1.safetensors"]
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
