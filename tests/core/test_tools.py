"""The developer commands, and what the packaging files promise, also of the oldest ComfyUI."""

import importlib.util
import re
import sys
import venv
from pathlib import Path

import pytest
import tomli

import mcdm_core
from studies.evaluation.config import load_evaluation
from tools import comfyui, tables
from tools import commands as demo_commands
from tools.environment import ROOT, ensure_importable, environment_python

EVALUATIONS = ROOT / "studies" / "configs" / "evaluate"


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


def test_the_variable_decides_and_must_name_a_comfyui(fake_home, monkeypatch):
    make_comfyui(fake_home / "ComfyUI")
    named = make_comfyui(fake_home / "named")
    monkeypatch.setenv("COMFYUI_PATH", str(named))
    assert comfyui.find_comfyui() == named
    monkeypatch.setenv("COMFYUI_PATH", str(fake_home))
    with pytest.raises(ValueError, match="correct the variable or unset it"):
        comfyui.find_comfyui()


def test_the_newer_of_both_is_taken(fake_home, monkeypatch):
    at_home, around = make_comfyui(fake_home / "ComfyUI"), make_comfyui(fake_home / "other")
    monkeypatch.setattr(comfyui, "ROOT", around / "custom_nodes" / "mcdm")
    assert comfyui.find_comfyui() == around  # where neither tells its version
    for version, newer in (("0.3.64", at_home), ("0.33.0", around)):
        (at_home / "comfyui_version.py").write_text('__version__ = "0.4.0"\n')
        (around / "comfyui_version.py").write_text(f'# generated\n__version__ = "{version}"\n')
        assert comfyui.find_comfyui() == newer
        assert comfyui.comfyui_version(around) == version


def test_a_stand_in_takes_the_place_of_what_cannot_be_imported_only(tmp_path):
    venv.create(tmp_path, with_pip=False)
    python = environment_python(tmp_path)
    for module in ("json.decoder", "torchaudio.functional"):
        ensure_importable(python, module)
    made = [path.name for path in tmp_path.rglob("site-packages/*") if path.is_dir()]
    assert made == ["torchaudio"]


def test_the_version_to_get_is_the_newest_that_the_readme_says_is_tested():
    (tested,) = re.findall(r"tested with ComfyUI (.+?), on", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert tested.split(" and ")[-1] == comfyui.TESTED
    assert f"--branch v{comfyui.TESTED} --depth 1 " in comfyui.how_to_get_one()


def test_what_is_got_is_found(fake_home):
    (folder,) = re.findall(r'"(.+)"', comfyui.how_to_get_one())
    assert comfyui.find_comfyui() is None
    assert make_comfyui(Path(folder)) == comfyui.find_comfyui()


def test_requirements_leave_out_torchaudio(tmp_path):
    (tmp_path / "requirements.txt").write_text("torch\ntorchaudio>=2\n\n# comment\ntorchsde  # noise\nav>=14.2.0\n")
    assert comfyui.comfyui_requirements(tmp_path) == ["torch", "torchsde", "av>=14.2.0"]


def test_package_and_requirements_file_ask_for_the_same():
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == (ROOT / "requirements.txt").read_text().splitlines()
    assert not any("<" in line or "==" in line for line in project["dependencies"])


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands that `tables` runs, each as the words after `studies`; trainings leave their networks behind."""
    ran = []

    def run(command):
        assert command[:3] == ["python", "-m", "studies"]
        words = [word.stem if isinstance(word, Path) else word for word in command[3:]]
        ran.append(words)
        if words[0] == "train" and words[1] != "start":
            folder = tmp_path / "runs" / f"table-{words[1]}"
            folder.mkdir(parents=True)
            (folder / f"table-{words[1]}.safetensors").write_text(words[1])
        return int(words[:2] == ["train", "broken"])

    monkeypatch.setattr(tables, "run", run)
    monkeypatch.setattr(tables, "ensure_environment", lambda *_: "python")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "NETWORKS", tmp_path / "networks")
    return ran


def test_the_demo_replaces_its_picture(monkeypatch):
    ran = []
    monkeypatch.setattr(demo_commands, "run", lambda command: ran.append(command[1:]) or 0)
    monkeypatch.setattr(demo_commands, "ensure_environment", lambda *_: "python")
    assert demo_commands.demo(["--steps", "5"]) == 0
    assert ran == [["-m", "mcdm_core", "demo", "--overwrite", "--steps", "5"]]


@pytest.mark.long
def test_pages_of_the_api_have_all_that_the_library_offers(monkeypatch, tmp_path):
    monkeypatch.setattr(demo_commands, "ensure_environment", lambda *_: sys.executable)
    monkeypatch.setattr(demo_commands, "find_comfyui", lambda: None)
    assert demo_commands.api(["-o", str(tmp_path)]) == 0
    page = (tmp_path / "mcdm_core.html").read_text(encoding="utf-8")
    for name in mcdm_core.__all__:
        assert f'id="{name}"' in page, name
    assert (tmp_path / "mcdm_core" / "product" / "rules" / "eq10.html").is_file()


def test_the_api_s_pages_are_left_out_of_git():
    assert "/out/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.fixture
def tested(monkeypatch, tmp_path):
    """Run a command where a part fails; returns its exit code, the words of each pytest run, and what is said.

    The first word of a run is the name of the environment whose Python it is.
    """
    runs, said = [], []
    monkeypatch.setattr(demo_commands, "ensure_environment", lambda name, *_: name)
    monkeypatch.setattr(demo_commands, "comfyui_requirements", lambda _: [])
    monkeypatch.setattr(demo_commands, "say", said.append)

    def run_tests(command, comfyui, failing, none_in=(), arguments=()):
        def run(words, *_):
            if "pytest" in words:
                runs.append(words)
                if any(folder in words for folder in none_in):
                    return 5
            return int(failing in words)

        for check in ("check_imports", "check_types"):
            monkeypatch.setattr(demo_commands, check, lambda _, check=check: int(failing == check))
        monkeypatch.setattr(demo_commands, "find_comfyui", lambda: comfyui)
        monkeypatch.setattr(demo_commands, "run", run)
        return command([*arguments]), runs, said

    return run_tests


@pytest.mark.parametrize("failing", ["ruff", "check_imports", "check_types", "tests/core", "tests/comfy", None])
def test_tests_go_on_whatever_fails_and_a_line_says_of_each_how_it_went(tested, failing, tmp_path):
    code, runs, said = tested(demo_commands.test, tmp_path, failing)
    assert code == int(failing is not None)
    assert ["tests/core" in words for words in runs] == [True, False]
    assert [words[0] for words in runs] == [".venv-test", ".venv-comfyui"]
    assert all(words[words.index("--cases") + 1] == "short" for words in runs)
    parts = ({"ruff", "check_imports", "check_types"}, {"tests/core"}, {"tests/comfy"})
    assert [line.endswith("passed.") for line in said] == [failing not in part for part in parts]


@pytest.mark.parametrize("arguments", [[], ["-k", "name"]], ids=["all", "chosen"])
def test_coverage_is_required_of_all_tests_and_not_of_chosen_ones(tested, arguments):
    _, ((*words,),), _ = tested(demo_commands.coverage, None, None, arguments=arguments)
    assert "--cov" in words
    assert "--cases" not in words
    assert ("--cov-fail-under" in words) == bool(arguments)
    assert words[-len(arguments) :] == arguments or not arguments


@pytest.mark.parametrize("command", [demo_commands.test, demo_commands.test_all], ids=lambda command: command.__name__)
@pytest.mark.parametrize(
    ("none_in", "has_comfyui", "failing", "expected"),
    [
        (["tests/core"], True, None, 0),
        (["tests/comfy"], True, None, 0),
        (["tests/core"], True, "tests/comfy", 1),
        (["tests/core", "tests/comfy"], True, None, 1),
        (["tests/core"], False, None, 1),
    ],
    ids=["core", "nodes", "core, and the nodes fail", "both", "core, and no ComfyUI"],
)
def test_a_half_without_a_chosen_test_is_no_failure_unless_no_test_was_chosen_at_all(
    tested, command, none_in, has_comfyui, failing, expected, tmp_path
):
    code, _, said = tested(command, tmp_path if has_comfyui else None, failing, none_in)
    assert code == expected
    halves = [line for line in said if line.startswith(("Core tests", "Node tests in", "Node tests:"))]
    for folder, line in zip(("tests/core", "tests/comfy"), halves, strict=True):
        assert line.endswith(": no tests chosen.") == (folder in none_in)
        assert ("FAILED" in line) == (folder == failing)


def test_what_the_short_tests_leave_out_is_run(tested, tmp_path):
    code, runs, _ = tested(demo_commands.test_all, tmp_path, None)
    assert code == 0
    *halves, on_accelerator = runs
    assert [words[words.index("--cases") + 1] for words in halves] == ["long", "long"]
    assert {"tests/comfy", "tests/accelerator", "--accelerator"} <= {*on_accelerator}
    assert not any("--cov" in words for words in runs)


def test_without_comfyui_the_nodes_tests_are_skipped(tested):
    code, _, said = tested(demo_commands.test_all, None, None)
    assert code == 0
    assert said[-2].startswith("Node tests: SKIPPED, no ComfyUI in COMFYUI_PATH")
    assert said[-1] == comfyui.how_to_get_one()


def test_all_tables_are_evaluated_by_one_command(commands):
    assert tables.tables([]) == 0
    evaluated, bias = commands
    assert evaluated[0] == "evaluate"
    files = {path.stem: load_evaluation(path).files.values() for path in sorted(EVALUATIONS.glob("*.toml"))}
    trials = {name for name, of in files.items() if any(ROOT / "runs" in file.parents for file in of)}
    assert trials  # no clone has their networks
    assert evaluated[1:-2] == [name for name in files if name not in trials]
    assert evaluated[-2:] == ["--out", "results"]
    assert bias == ["evaluate", "product-bias", "--out", "product_bias"]


def test_tables_can_be_drawn_on_a_cluster(commands):
    """That changes nothing in them."""
    assert tables.tables(["--ray", "10.0.0.1:6379"]) == 0
    assert commands[0][-4:] == ["--out", "results", "--ray", "10.0.0.1:6379"]


def test_their_networks_can_be_trained_before(commands, tmp_path):
    assert tables.tables(["--train"]) == 0
    configured = {path.stem for path in (ROOT / "studies" / "configs" / "tables").glob("*.toml")}
    assert [words[0] for words in commands] == ["train"] * (len(configured) + 1) + ["evaluate"] * 2
    assert {words[1] for words in commands[1:-2]} == configured
    assert {path.stem: path.read_text() for path in (tmp_path / "networks").iterdir()} == {n: n for n in configured}


def test_a_failed_training_ends_it(commands, monkeypatch):
    monkeypatch.setattr(tables, "TRAINED", ("hair", "broken", "skin"))
    assert tables.tables(["--train"]) == 1
    assert [words[1] for words in commands] == ["start", "hair", "broken"]


def test_a_quick_look_does_not_overwrite_the_results(commands, capsys):
    with pytest.raises(SystemExit):
        tables.tables(["--count", "8"])
    assert (
        "--count 8 would change what studies/results/ shows; add --out with another folder" in capsys.readouterr().err
    )
    assert commands == []
    assert tables.tables(["--count", "8", "--out", "quick"]) == 0
    assert commands[0][-4:] == ["--out", "quick", "--count", "8"]


@pytest.fixture
def pack():
    """The entry of the pack, which needs no ComfyUI until it is called."""
    spec = importlib.util.spec_from_file_location("entry", ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", ["0.3.64", "0.4.0", "0.32.9", "0.32.9.dev1"])
def test_an_older_one_is_refused(pack, version):
    with pytest.raises(RuntimeError) as refused:
        pack.check_comfyui(version)
    assert str(refused.value) == (
        f"MCDM needs ComfyUI 0.33.0 or newer, and this is {version}; update ComfyUI and restart it."
    )


@pytest.mark.parametrize("version", ["0.33.0", "0.33.1", "0.34.0", "1.0.0"])
def test_any_other_is_taken(pack, version):
    pack.check_comfyui(version)


def test_the_oldest_is_the_one_that_the_registry_is_told(pack):
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["comfy"]["requires-comfyui"] == f">={pack.OLDEST_COMFYUI}"
