"""The command line of the studies, and that it has all for which the core's sends to it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mcdm_core.training import kinds
from studies.cli import main
from studies.training.kinds import KINDS

ROOT = Path(__file__).parents[2]


def run_python(*arguments):
    """Standard output of a fresh interpreter in the repository's folder."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_it_imports_nothing_that_draws_trains_or_measures():
    statement = "import studies.cli, json, sys; json.dump(list(sys.modules), sys.stdout)"
    modules = set(json.loads(run_python("-c", statement)))
    assert not modules & {"dicebear", "resvg_py", "tomli", "matplotlib", "skimage", "scipy"}
    assert [name for name in modules if name.startswith("studies.")] == ["studies.cli"]


def test_it_has_the_core_s_kinds_of_data_and_those_that_are_drawn():
    assert set(KINDS) == {*kinds.KINDS, *kinds.DRAWN}
    assert all(kind().name == name for name, kind in KINDS.items())


@pytest.mark.parametrize("command", ["evaluate", "gallery", "train"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: python -m studies {command}" in capsys.readouterr().out


def test_it_is_started_as_a_module():
    assert "measure experts and their products\n" in run_python("-m", "studies", "--help")
