"""Training a LoRA on an expert, from a configuration to the file."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mcdm_core import load_expert, prediction_named
from mcdm_core.checkpoints.lora import with_lora
from mcdm_core.training.config import load_config
from mcdm_core.training.expert.objective import Objective, trained_schedule
from mcdm_core.training.expert.run import train_expert
from mcdm_core.training.folder.reading import read_folder
from mcdm_core.training.loop.loop import decisive_values

from ...support.tiny_runs import write_config, write_folder

DATA = 'kind = "folder"\npath = "pictures"\nmodalities = ["hair"]'
TOP = 'image_size = 16\nstart = "runs/base/base.safetensors"'
ADAPTER = "map_channels = 1\n[adapter]\nrank = 2"
OPTIMIZER = "batch_size = 4\nwarmup = 1\nautocast = false\nlearning_rate = 2e-2\nema = 0.5"


@pytest.fixture
def base(tmp_path):
    """An expert to train on."""
    write_folder(tmp_path / "pictures", maps=("hair",))
    return train_expert(write_config(tmp_path / "base.toml", data=DATA, network="map_channels = 1"), tmp_path / "runs")


def write(folder, **changes):
    settings = {"data": DATA, "network": ADAPTER, "top": TOP, "steps": 4, "optimizer": OPTIMIZER}
    return write_config(folder / "mine.toml", **(settings | changes))


def test_a_lora_is_written_and_changes_its_expert(base, tmp_path):
    file = train_expert(write(tmp_path), tmp_path / "runs")
    tensors = load_file(file)
    layers = {name.rpartition(".lora_")[0] for name in tensors if ".lora_" in name}
    assert tensors.keys() == {
        f"{layer}.{part}" for layer in layers for part in ("lora_up.weight", "lora_down.weight", "alpha")
    }
    assert all(tensors[f"{layer}.lora_up.weight"].abs().max() > 0 for layer in layers)
    expert = load_expert(base)
    changed = with_lora(expert, file)
    matrices = {name for name, weight in expert.network.named_parameters() if weight.ndim > 1}
    for (name, before), after in zip(expert.network.named_parameters(), changed.network.parameters(), strict=True):
        assert torch.equal(before, after) == (name not in matrices), name
    with safe_open(file, "pt") as opened:
        card = json.loads(opened.metadata()["mcdm_lora"])
    assert (card["steps"], card["start"], card["data"]) == (4, "base", "5 pictures of the folder 'pictures'")


def test_it_learns(base, tmp_path):
    """The pictures it was trained on are predicted better, though the expert's own weights stay."""
    config = write(tmp_path, steps=60)
    file = train_expert(config, tmp_path / "runs")
    settings, expert = load_config(config), load_expert(base)
    source, _ = read_folder(tmp_path / "pictures", ("hair",), 16, 1)
    objective = Objective(trained_schedule(settings.schedule), prediction_named(settings.prediction))

    def loss(network):
        x0, condition = source.batch("hair", 64, np.random.default_rng(0))
        return objective(network, x0, condition, np.random.default_rng(1)).item()

    assert loss(with_lora(expert, file).network) < 0.7 * loss(expert.network)


def test_a_resumed_run_equals_an_uninterrupted_one(base, tmp_path):
    constant = OPTIMIZER + "\ndecay_from = 1.0"
    whole = train_expert(write(tmp_path, optimizer=constant), tmp_path / "whole")
    train_expert(write(tmp_path, steps=2, optimizer=constant), tmp_path / "runs")
    state = torch.load(tmp_path / "runs" / "mine" / "state.pt")
    config = load_config(write(tmp_path, optimizer=constant))
    torch.save(state | {"config": json.dumps(decisive_values(config))}, tmp_path / "runs" / "mine" / "state.pt")
    resumed = load_file(train_expert(tmp_path / "mine.toml", tmp_path / "runs", "state"))
    expected = load_file(whole)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top": "image_size = 16"}, "name the expert's file as start"),
        ({"top": 'image_size = 16\nstart = "none.safetensors"'}, "to start from"),
        ({"optimizer": "muon = true"}, "trained by AdamW; remove muon"),
        ({"network": "map_channels = 1\n[adapter]\nrank = 0"}, r"\[adapter\] .* of 1 or more|from 1 to"),
        ({"network": "map_channels = 1\n[adapter]\nalpha = 2"}, r"\[adapter\] .* unknown names"),
        ({"network": ADAPTER.replace("1\n", "1\nnum_heads = 8\ncontext_dim = 8\n", 1)}, "whose weights stay"),
        ({"data": DATA + '\nnamed = ["hair_color"]'}, "remove named"),
        ({"top": TOP + '\nschedule = "linear"'}, "Expected the schedule of base, cosine, .* has linear"),
    ],
)
def test_what_cannot_be_trained_is_refused(base, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train_expert(write(tmp_path, **changes), tmp_path / "runs")


def test_a_lora_does_not_go_on_from_an_expert(base, tmp_path):
    with pytest.raises(ValueError, match=r"go on from its state and got .*base"):
        train_expert(write(tmp_path), tmp_path / "runs", str(base))
