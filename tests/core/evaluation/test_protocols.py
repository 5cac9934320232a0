"""The measurements from end to end, with small experts of random weights."""

import hashlib
import json

import numpy as np
import pytest
import torch
from evaluations import InProcess, biased_reader, evaluate, write_small, write_small_text

from mcdm_core.conditions import TextTower
from mcdm_core.data.faces import MOUTHS
from mcdm_core.evaluation import protocols, sampling
from mcdm_core.evaluation.held_out import TEST_SEED, draw_held_out
from mcdm_core.evaluation.protocols import Setting, to_markdown
from mcdm_core.evaluation.sampling import draw_samples


@pytest.fixture
def experts(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)
    folder = tmp_path / "experts"
    for name in ("hair", "skin"):
        write_small(folder, name, {"kind": "map", "map": name}, {"map_channels": 1})
    write_small(folder, "sketch", {"kind": "sketch"}, {"map_channels": 1})
    write_small_text(folder, "text", TextTower())
    return folder


@pytest.fixture
def reader(tmp_path, monkeypatch):
    reader = biased_reader(tmp_path / "mouths.safetensors", MOUTHS, "smiling")
    monkeypatch.setattr(protocols, "mouth_reader", lambda: reader)
    return reader


def run(what, experts, out):
    return evaluate(what, experts, out, "--count", "4")


def test_maps_are_measured_united_alone_and_mixed(experts, tmp_path):
    result = run("maps", experts, tmp_path / "out")
    rows = list(result["table"])
    assert rows[0] == "real renders (ceiling)"
    assert rows[1:] == [
        "united, w = 2",
        "hair expert alone, w = 2",
        "skin expert alone, w = 2",
        "united, w = 1",
        "maps of two faces, w = 2",
    ]
    assert result["arguments"]["count"] == 4
    assert str(tmp_path) not in json.dumps(result)
    columns = {"hair IoU", "hair F1", "skin IoU", "skin F1", "high-frequency energy / real"}
    assert all(columns <= set(row) for row in result["table"].values())
    assert (tmp_path / "out" / "maps.md").read_text().count("\n") == 2 + len(rows)


def test_captions_are_measured_beside_maps_and_alone(experts, reader, tmp_path):
    table = run("captions", experts, tmp_path / "out")["table"]
    assert "hair IoU" in table["maps and another face's caption"]
    assert "hair IoU" not in table["caption alone"]
    assert all({"mouth", "hair_color", "mean of attributes"} <= set(row) for row in table.values())


def test_sketches_are_measured_against_their_own_and_another_s(experts, tmp_path):
    table = run("sketches", experts, tmp_path / "out")["table"]
    assert list(table) == ["sketch expert alone, w = 2", "against another face's sketch (chance)"]
    assert all("edge F1" in row for row in table.values())


@pytest.mark.parametrize(
    ("what", "settings"),
    [("choose-map-weight", len(protocols.MAP_WEIGHTS)), ("choose-text-weight", 2 * len(protocols.TEXT_WEIGHTS))],
)
def test_weights_are_compared(what, settings, experts, reader, tmp_path):
    assert len(run(what, experts, tmp_path / "out")["table"]) == settings


def test_samples_are_kept_and_read_again(experts, tmp_path, monkeypatch):
    setting = Setting("sketches", {"sketch": 2.0}, TEST_SEED, 3, steps=1)
    first = draw_samples(setting, experts, tmp_path / "samples", 1)
    assert first.shape == (3, 64, 64, 3)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == [f"{setting.key(experts)}_00000.npy"]
    monkeypatch.delattr(sampling, "_run")  # sampling again would fail
    assert np.array_equal(draw_samples(setting, experts, tmp_path / "samples", 1), first)


def test_a_shifted_condition_comes_from_the_next_face():
    setting = Setting("", {"hair": 1.0, "text": 1.0}, TEST_SEED, 5, shifts={"text": 2})
    assert [setting.source(i, "text") for i in range(5)] == [2, 3, 4, 0, 1]
    assert [setting.source(i, "hair") for i in range(5)] == [0, 1, 2, 3, 4]
    assert [Setting("", {"hair": 1.0}, TEST_SEED, 5).source(i, "hair") for i in range(5)] == [0, 1, 2, 3, 4]


def test_samples_are_filed_by_what_decides_them(experts):
    base = Setting("a", {"hair": 1.0, "skin": 2.0}, TEST_SEED, 5, 10)
    assert base.key(experts) == Setting("b", {"skin": 2.0, "hair": 1.0}, TEST_SEED, 5, 10).key(experts)
    others = [
        Setting("a", {"hair": 1.0, "skin": 1.0}, TEST_SEED, 5, 10),
        Setting("a", {"hair": 1.0, "skin": 2.0}, TEST_SEED + 1, 5, 10),
        Setting("a", {"hair": 1.0, "skin": 2.0}, TEST_SEED, 6, 10),
        Setting("a", {"hair": 1.0, "skin": 2.0}, TEST_SEED, 5, 20),
        Setting("a", {"hair": 1.0, "skin": 2.0}, TEST_SEED, 5, 10, {"skin": 1}),
        Setting("a", {"hair": 1.0, "skin": 2.0}, TEST_SEED, 5, 10, eta=1.0),
    ]
    keys = {base.key(experts), *(other.key(experts) for other in others)}
    with (experts / "hair.safetensors").open("ab") as file:  # trained on
        file.write(b"0")
    assert len(keys | {base.key(experts)}) == 8


def test_samples_of_earlier_versions_are_found(experts):
    described = "Setting(name='', weights={'hair': 1.0}, first_seed=7, count=5, steps=10, shifts={'hair': 1}, eta=0.0)"
    content = described.encode() + (experts / "hair.safetensors").read_bytes()
    setting = Setting("hair", {"hair": 1.0}, 7, 5, 10, {"hair": 1})
    assert setting.key(experts) == hashlib.sha256(content).hexdigest()[:12]


def test_the_mouth_reader_reads_what_its_network_says(reader):
    faces = draw_held_out(TEST_SEED, 3)
    with torch.no_grad():
        reader.network.head[-1].bias[2] += 1000
    assert reader.read(faces.images) == [list(MOUTHS)[2]] * 3


def test_tables_leave_absent_figures_empty():
    assert to_markdown({"a": {"x": "1"}, "b": {"y": "2"}}) == "| | x | y |\n|---|---|---|\n| a | 1 |  |\n| b |  | 2 |\n"
