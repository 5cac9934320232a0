"""What the command line refuses before any work, and how it ends."""

import json
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core.cli import sample
from mcdm_core.cli.main import main
from mcdm_core.training.loop.run_folder import check_name

from ...support.small_experts import write_expert
from ...support.tiny_runs import write_config, write_folder


@pytest.fixture
def given(tmp_path):
    """An expert and its condition, as `sample` and `sweep` take them."""
    hair = write_expert(tmp_path / "hair.safetensors", {"kind": "map", "map": "hair"})
    Image.fromarray(np.tri(16, dtype=np.uint8) * 255).save(tmp_path / "map.png")
    return ["--expert", str(hair), "--map", str(tmp_path / "map.png"), "--steps", "2", "--device", "cpu"]


@pytest.fixture
def unused(monkeypatch):
    """No expert may be loaded."""

    def load(*arguments):
        raise AssertionError("work was begun")

    monkeypatch.setattr(sample, "build_terms", load)


def code_of(arguments, program=main):
    """The exit code, whether main returns it or argparse exits with it."""
    try:
        return program(arguments)
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.usefixtures("unused")
@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--output", "{folder}/a/b/c.png"], 2, "create it or correct the path"),
        (["--output", "{folder}/picture"], 2, "ends in .png"),
        (["--output", "{folder}/picture.xyz"], 2, "ends in .png"),
        (["--output", "{folder}/map.png"], 2, "add --overwrite"),
        (["--output", "{folder}"], 2, "ends in .png"),
        (["--device", "gpu"], 2, "Expected a device"),
        (["--device", ""], 2, "Expected a device"),
        (["--device", "meta"], 1, "cannot be used here"),
        (["--count", "0"], 2, "a whole number from 1 to"),
        (["--count", str(10**30)], 2, "a whole number from 1 to"),
        (["--seed", "-1"], 2, "from 0 to 18446744073709551615"),
        (["--seed", str(2**64)], 2, "from 0 to 18446744073709551615"),
        (["--steps", "0"], 2, "at least one timestep"),
        (["--eta", "nan"], 2, "expected a number"),
        (["--eta", "7"], 2, "an eta from 0 to 1"),
        (["--temperature", "inf"], 2, "expected a number"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(options, code, sentence, given, tmp_path, capsys):
    before = sorted(os.listdir(tmp_path))
    given += ["--output", str(tmp_path / "new.png")]
    assert code_of(["sample", *given, *(option.format(folder=tmp_path) for option in options)]) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(("option", "number"), [("--of", 0), ("--seeds", 0), ("--seeds", 10**12)])
def test_a_sweep_of_nothing_or_of_no_end_is_refused(option, number, given, capsys):
    assert code_of(["sweep", *given, option, str(number)]) == 2
    assert f"{option}: expected a whole number from 1 to " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sample", "sweep"])
def test_an_output_is_replaced_only_where_that_is_said(command, given, tmp_path, capsys):
    output = tmp_path / "new folder" / "out.png"
    arguments = [command, *given, "--output", str(output)]
    if command == "sweep":
        arguments += ["--values", "1"]
    assert main(arguments) == 0
    before = output.read_bytes()
    assert main([*arguments, "--seed", "1"]) == 2
    assert f"{output} exists already; add --overwrite" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert output.read_bytes() != before


@pytest.mark.skipif(sys.platform == "win32", reason="such names are POSIX's")
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("command", ["sample", "sweep", "demo", "convert"])
def test_what_is_no_file_is_refused_before_any_work(command, overwrite, tmp_path, capsys):
    path = tmp_path / "pipe.png"
    options = ["--output", str(path)]
    if command == "convert":
        path = tmp_path / "pipe.safetensors"
        options = [str(tmp_path / "no expert.pt"), str(path)]
    elif command != "demo":
        options += ["--expert", str(tmp_path / "no expert.pt")]
    os.mkfifo(path)
    assert main([command, *options, *overwrite]) == 2
    assert f"{path} is a device, a pipe or a socket; choose another name" in capsys.readouterr().err
    assert path.is_fifo()


@pytest.mark.skipif(sys.platform == "win32", reason="such names are POSIX's")
def test_a_device_that_a_link_names_is_refused(tmp_path, capsys):
    path = tmp_path / "out.png"
    path.symlink_to(os.devnull)
    assert main(["demo", "--output", str(path), "--overwrite"]) == 2
    assert "is a device, a pipe or a socket" in capsys.readouterr().err
    assert path.is_symlink()


def test_convert_is_refused_a_missing_folder_before_it_reads(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "no.pt"), str(tmp_path / "no" / "new.safetensors")]) == 2
    assert "Expected a folder" in capsys.readouterr().err
    hair = write_expert(tmp_path / "hair.safetensors", {"kind": "map", "map": "hair"})
    assert main(["convert", str(hair), str(tmp_path / "hair.pt")]) == 2
    assert "end in .safetensors" in capsys.readouterr().err
    target = tmp_path / "new.safetensors"
    target.write_text("before")
    assert main(["convert", str(hair), str(target)]) == 2
    assert "exists already; add --overwrite" in capsys.readouterr().err
    assert target.read_text() == "before"
    assert main(["convert", str(hair), str(target), "--overwrite"]) == 0
    assert target.read_bytes() != b"before"


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 1), (torch.cuda.OutOfMemoryError("CUDA out of memory."), 1)]
)
def test_a_failure_on_the_way_is_one_sentence(error, code, given, tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(sample, "build_terms", fail)
    assert main(["sample", *given, "--output", str(tmp_path / "new.png")]) == code
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bug_is_a_traceback(given, tmp_path, monkeypatch):
    def fail(*arguments):
        raise TypeError("'NoneType' object is not callable")

    monkeypatch.setattr(sample, "build_terms", fail)
    with pytest.raises(TypeError):
        main(["sample", *given, "--output", str(tmp_path / "new.png")])


def test_memory_for_a_million_pictures_is_missing_in_one_sentence(given, tmp_path, capsys):
    arguments = ["sample", *given, "--count", str(10**12), "--output", str(tmp_path / "new.png")]
    assert main(arguments) == 1
    assert "Memory ran out" in capsys.readouterr().err


@pytest.fixture
def config(tmp_path):
    write_folder(tmp_path / "pictures")
    data = 'kind = "folder"\npath = "pictures"\nmodalities = ["hair"]'
    return write_config(tmp_path / "mine.toml", data=data, network="map_channels = 1")


@pytest.mark.parametrize(
    ("content", "came"),
    [
        ('name = "hair"\n[data]\nkind = "faces"\n', "got 'faces', which is drawn"),
        ("[dual_encoder]\nsteps = 1\n", "got 'faces', which is drawn"),
        ('name = "vae"\n[autoencoder]\n[data]\nkind = "mixture"\n', "got 'mixture', which is drawn"),
        ('name = "gan"\n[gan]\n', "got a section [gan]"),
    ],
)
def test_trainings_of_the_studies_are_said_to_be_theirs(content, came, tmp_path, capsys):
    (tmp_path / "theirs.toml").write_text(content, "utf-8")
    assert main(["train", str(tmp_path / "theirs.toml"), "--runs", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert said.endswith(f"{came}; run `python -m studies train` in a clone of the repository.\n")
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["mine", "table-hair", "mcdm_vae", "ear 2.1", "Köln", "a" * 100, "console", "com"])
def test_plain_names_are_names(name):
    check_name(name, ("data",))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("../../x", "has '/' in it"),
        ("a/b", "has '/' in it"),
        ("{folder}/x", "has '/' in it"),
        ("a\\b", "in it"),
        ("C:x", "has ':' in it"),
        ("x\0", "in it"),
        ("line\n", "in it"),
        (".", "begins or ends with a dot"),
        ("..", "begins or ends with a dot"),
        ("x.", "begins or ends with a dot"),
        ("x ", "dot or a space"),
        ("nul", "is a device of Windows"),
        ("Com1.toml", "is a device of Windows"),
        ("a" * 101, "has 101 characters"),
        ("Data", "all runs share"),
    ],
)
def test_a_run_stays_in_its_folder(name, problem, config, tmp_path, capsys):
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    name = json.dumps(name.format(folder=tmp_path.as_posix()))
    config.write_text(config.read_text("utf-8").replace('name = "mine"', f"name = {name}"), "utf-8")
    assert main(["train", str(config), "--runs", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert "Expected a name that a folder can have" in said
    assert problem in said
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("batch_size = 4", "batch_size = 0", "for batch_size"),
        ("steps = 4", "steps = -1", "for steps"),
        (
            "steps = 4",
            'steps = "4"',
            "[optimizer] of mine.toml: expected a whole number of 0 or more for steps",
        ),
        ("warmup = 2", "warmup = 2\nlearning_rate = nan", "for learning_rate"),
        ("warmup = 2", "learning_rate = inf", "of 0 or more for learning_rate and got inf"),
        ("warmup = 2", "warmup = 2\ncondition_dropout = 1.5", "for condition_dropout"),
        ("warmup = 2", "ema = 1.5", "expected a finite number from 0 to 1 for ema and got 1.5"),
        ("held_out_every = 0", "held_out_every = 0\nevery = 0", "for every"),
        ("image_size = 16", "image_size = 0", "for image_size"),
        ("batch_size = 4", f"batch_size = {2**63}", "for batch_size"),
        ("warmup = 2", f"warmup = {10**400}", "for warmup"),
        ("patch = 2", "patch = 0", "for patch"),
        ("dropout = 0.1", "norm_groups = 0", "norm_groups"),
        ("dropout = 0.1", "norm_groups = 5", "norm_groups"),
        ("model_channels = 32", "model_channels = 0", "from 1 to 65,536 for model_channels and got 0"),
        ("[1]", '["2"]', "a list of length 1 to 10 of finite numbers from 0.015625 to 64 for channel_mult"),
        ('["hair"]', '"hair"', "for modalities and got 'hair'"),
        ("dropout = 0.1", "dropout = false", "for dropout and got False"),
        ('["hair"]', '["hair", 3]', "expected a list of texts for modalities and got ['hair', 3]"),
        ('name = "mine"', "name = 7", "mine.toml: expected a text for name and got 7"),
        (
            "[optimizer]",
            "[data.sets]\nhair = 3\n[optimizer]",
            "a table of tables for sets and got {'hair': 3}",
        ),
        ("[optimizer]", "[card]\nyear = 2025\n[optimizer]", "expected a table of texts for card"),
        ("[optimizer]", "[dual_encoder]\nwords = 'many'\n[optimizer]", "a whole number from 1 to 20,000 for words"),
    ],
)
def test_values_of_another_type_or_out_of_range_are_refused(old, new, sentence, config, tmp_path, capsys):
    text = config.read_text("utf-8")
    assert old in text
    config.write_text(text.replace(old, new, 1), "utf-8")
    assert main(["train", str(config), "--runs", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "; correct" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("section", ["optimizer", "dual_encoder"])
def test_what_is_no_section_is_refused(section, tmp_path, capsys):
    (tmp_path / "odd.toml").write_text(f'name = "odd"\n{section} = 3\n[data]\nkind = "folder"\n', "utf-8")
    assert main(["train", str(tmp_path / "odd.toml"), "--runs", str(tmp_path / "runs")]) == 2
    assert f"Expected [{section}] of odd.toml to be a table and got 3" in capsys.readouterr().err


def test_more_threads_than_a_system_has_are_refused(config, capsys):
    assert code_of(["train", str(config), "--threads", "100000"]) == 2
    assert "--threads: expected a whole number from 0 to 1024" in capsys.readouterr().err


def test_a_loss_that_diverges_ends_a_run_in_a_sentence_and_saves_nothing_of_it(config, tmp_path, capsys):
    config.write_text(config.read_text("utf-8").replace("warmup = 2", "warmup = 0\nlearning_rate = 1e30"), "utf-8")
    assert main(["train", str(config), "--runs", str(tmp_path / "runs")]) == 1
    assert "The loss of mine diverged at step" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_run_is_begun_anew_only_where_that_is_said(config, tmp_path, capsys):
    arguments = ["train", str(config), "--runs", str(tmp_path / "runs")]
    config.write_text(config.read_text("utf-8").replace("held_out_every = 0", "held_out_every = 0\nevery = 2"), "utf-8")
    assert main(arguments) == 0
    folder = tmp_path / "runs" / "mine"
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    (folder / "state.pt").unlink()
    assert main(arguments) == 2
    assert "mine.safetensors exists already; add --overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    assert [line.split(",")[0] for line in (folder / "loss.csv").read_text().splitlines()] == ["step", "2", "4"]
    assert sorted(os.listdir(folder)) == ["loss.csv", "mine.safetensors", "state.pt"]
    assert main([*arguments, "--resume"]) == 0


def test_a_damaged_state_is_refused_in_a_sentence(config, tmp_path, capsys):
    arguments = ["train", str(config), "--runs", str(tmp_path / "runs")]
    assert main(arguments) == 0
    state = tmp_path / "runs" / "mine" / "state.pt"
    whole = state.read_bytes()
    for damaged in (b"", b"notes", whole[: len(whole) // 2]):
        state.write_bytes(damaged)
        assert main([*arguments, "--resume"]) == 2
        assert "state.pt is damaged" in capsys.readouterr().err
