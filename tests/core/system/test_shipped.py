"""Experts that ship are found by name, and all else stays a path."""

from pathlib import Path

import pytest

from mcdm_core import load_expert, read_metadata
from mcdm_core.checkpoints import CheckpointError
from mcdm_core.pictures import example_picture
from mcdm_core.system.shipped import EXPERTS, expert_names, expert_path


def test_every_expert_has_a_name_and_a_page():
    assert expert_names() == ["animals", "hair", "landscapes", "sketch", "skin", "text"]
    assert all((EXPERTS / f"{name}.md").is_file() for name in expert_names())


def test_a_name_is_that_of_a_file_that_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expert_path("hair") == EXPERTS / "hair.safetensors"
    assert read_metadata("hair") == read_metadata(EXPERTS / "hair.safetensors")
    expert = load_expert("hair")
    assert (expert.name, expert.sample_shape) == ("hair", (4, 32, 32))
    assert expert.decode(expert.encode(example_picture("face_1").movedim(-1, 1) * 2 - 1)).shape == (1, 3, 256, 256)


def test_a_file_of_the_reader_s_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hair").write_text("No expert.")
    assert expert_path("hair") == Path("hair")
    with pytest.raises(CheckpointError):
        load_expert("hair")


@pytest.mark.parametrize("path", ["hair.pt", "./hair", "x/hair", "experts/hair.safetensors", "/hair", "."])
def test_a_path_stays_as_it_is(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expert_path(path) == Path(path)


@pytest.mark.parametrize("name", ["hare", ""])
def test_who_asks_for_another_name_is_told_which_there_are(name):
    with pytest.raises(FileNotFoundError, match=rf"nor an expert that ships \(animals, hair, .*text\): '{name}'"):
        load_expert(name)
