"""The developer commands, and what the packaging files promise."""

from pathlib import Path

import pytest
import tomli

from tools import comfyui
from tools.environment import ROOT


@pytest.fixture
def fake_home(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(comfyui, "ROOT", tmp_path / "elsewhere")
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    return tmp_path


def make_comfyui(folder):
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


def test_no_comfyui_is_found_where_there_is_none(fake_home):
    assert comfyui.find_comfyui() is None


def test_the_comfyui_around_the_pack_comes_before_that_at_home(fake_home, monkeypatch):
    at_home = make_comfyui(fake_home / "ComfyUI")
    assert comfyui.find_comfyui() == at_home
    around = make_comfyui(fake_home / "other")
    monkeypatch.setattr(comfyui, "ROOT", around / "custom_nodes" / "mcdm")
    assert comfyui.find_comfyui() == around


def test_the_variable_decides_and_must_name_a_comfyui(fake_home, monkeypatch):
    make_comfyui(fake_home / "ComfyUI")
    named = make_comfyui(fake_home / "named")
    monkeypatch.setenv("COMFYUI_PATH", str(named))
    assert comfyui.find_comfyui() == named
    monkeypatch.setenv("COMFYUI_PATH", str(fake_home))
    with pytest.raises(ValueError, match="correct the variable or unset it"):
        comfyui.find_comfyui()


def test_requirements_leave_out_torchaudio_and_add_requests(tmp_path):
    (tmp_path / "requirements.txt").write_text("torch\ntorchaudio>=2\n\n# comment\ntorchsde  # noise\nav>=14.2.0\n")
    assert comfyui.comfyui_requirements(tmp_path) == ["torch", "torchsde", "av>=14.2.0", "requests"]


def test_package_and_requirements_file_ask_for_the_same():
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == (ROOT / "requirements.txt").read_text().splitlines()
    assert not any("<" in line or "==" in line for line in project["dependencies"])
