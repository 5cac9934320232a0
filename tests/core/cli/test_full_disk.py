"""A full disk is one sentence, and takes nothing with it."""

import sys

import numpy as np
import pytest
from PIL import Image

from mcdm_core.cli.main import main
from mcdm_core.training.expert.run import train_expert

from ...support.small_disk import contents, run_on_a_full_disk
from ...support.small_experts import write_expert
from ...support.tiny_runs import write_config, write_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the size of files can be limited on POSIX only")


@pytest.fixture
def given(tmp_path):
    hair = write_expert(tmp_path / "hair.safetensors", {"kind": "map", "map": "hair"})
    Image.fromarray(np.tri(16, dtype=np.uint8) * 255).save(tmp_path / "map.png")
    (tmp_path / "out").mkdir()
    return ["--expert", str(hair), "--map", str(tmp_path / "map.png"), "--steps", "1", "--device", "cpu"]


def check(arguments, folder, written):
    """A sentence, earlier outputs intact, nothing beside them."""
    before = contents(folder)
    code, said = run_on_a_full_disk(arguments, folder)
    assert code == 1
    assert said.startswith(f"error: {written} could not be written (")
    assert said.endswith("make room or choose another place.")
    assert contents(folder) == before


@pytest.mark.one_of(4)
@pytest.mark.parametrize("command", ["sample", "sweep"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_are_kept(command, suffix, given, tmp_path):
    output = tmp_path / "out" / f"picture{suffix}"
    arguments = [command, *given, "--output", str(output)]
    if command == "sweep":
        arguments += ["--values", "0.5, 1", "--expert", given[1], "--map", given[3]]
    check(arguments, tmp_path, output)
    assert main(arguments) == 0
    check([*arguments, "--seed", "1", "--overwrite"], tmp_path, output)


@pytest.mark.long
def test_a_converted_file_is_kept(given, tmp_path):
    target = tmp_path / "out" / "new.safetensors"
    arguments = ["convert", given[1], str(target)]
    check(arguments, tmp_path, target)
    target.write_text("before")
    check([*arguments, "--overwrite"], tmp_path, target)


@pytest.mark.long
def test_a_run_is_kept(tmp_path):
    write_folder(tmp_path / "pictures")
    data = 'kind = "folder"\npath = "pictures"\nmodalities = ["hair"]'
    config = write_config(tmp_path / "mine.toml", data=data, network="map_channels = 1", report="every = 1", steps=2)
    arguments = ["train", str(config), "--runs", str(tmp_path / "runs"), "--threads", "1"]
    folder = tmp_path / "runs" / "mine"
    code, said = run_on_a_full_disk(arguments, tmp_path)
    assert (code, "could not be written" in said) == (1, True)
    assert not [name for name in contents(tmp_path / "runs") if name.endswith(".partial")]
    train_expert(config, tmp_path / "runs", overwrite=True)
    assert (folder / "samples_000002.png").exists()
    check([*arguments, "--resume"], tmp_path, folder / "state.pt")
