"""What the studies add to the command line, and what is said where they do not lie beside the core."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcdm_core.cli.main import main

from ..support.tiny_runs import write_config

ROOT = Path(__file__).parents[2]

COMMANDS = """
import contextlib, io, json, sys
from mcdm_core.cli.main import main
found = []
for line in sys.argv[1:]:
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        found.append([main(line.split()), errors.getvalue()])
json.dump(found, sys.stdout)
"""
"""Runs each argument as a command; writes exit codes and what came on stderr."""


def run_python(folder, *arguments, path=""):
    """Standard output of a fresh interpreter that finds modules in a folder, and then in `path`."""
    environment = os.environ | {"PYTHONPATH": str(path)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The core as the registry's archive holds it, without the studies, and configurations that need them."""
    folder = tmp_path_factory.mktemp("archive")
    shutil.copytree(ROOT / "mcdm_core", folder / "mcdm_core", ignore=shutil.ignore_patterns("__pycache__"))
    write_config(folder / "faces.toml", data='kind = "faces"\nmodalities = ["hair"]', network="map_channels = 1")
    (folder / "gan.toml").write_text('name = "gan"\n[gan]\n', encoding="utf-8")
    (folder / "encoder.toml").write_text("[dual_encoder]\nsteps = 1\n", encoding="utf-8")
    (folder / "vae.toml").write_text('name = "vae"\n[autoencoder]\n[data]\nkind = "mixture"\n', encoding="utf-8")
    return folder


@pytest.fixture(params=["", "elsewhere"], ids=["nowhere", "another"])
def path(request, tmp_path):
    """Python's path beside the archive: empty, or with another package that is called studies."""
    if request.param:
        (tmp_path / "studies").mkdir()
        (tmp_path / "studies" / "__init__.py").touch()
        (tmp_path / "studies" / "registration.py").write_text("raise AssertionError('not ours')\n")
    return tmp_path if request.param else ""


def test_where_the_studies_are_missing_a_sentence_says_so(archive, path):
    wanted = {
        "evaluate maps.toml": "evaluate",
        "evaluate --help": "evaluate",
        "train faces.toml": "drawn faces",
        "train gan.toml": "a section [gan]",
        "train encoder.toml": "drawn faces",
        "train vae.toml": "a mixture of drawings",
    }
    found = json.loads(run_python(archive, "-c", COMMANDS, *wanted, path=path))
    assert found == [
        [
            2,
            f"error: Expected the folder studies/ in {archive.resolve()} for {what} and found none; run this in a "
            "clone of the repository: the archive of the ComfyUI registry leaves that folder out.\n",
        ]
        for what in wanted.values()
    ]


def test_help_says_which_command_is_not_there(archive):
    assert "not here: it needs" in " ".join(run_python(archive, "-m", "mcdm_core", "--help").split())


def test_registering_imports_nothing_that_draws_trains_or_measures():
    statement = "import studies.registration as r, json, sys; r.register(); json.dump(list(sys.modules), sys.stdout)"
    modules = set(json.loads(run_python(ROOT, "-c", statement)))
    assert not modules & {"dicebear", "resvg_py", "tomli", "matplotlib", "skimage", "scipy"}
    ours = [name for name in modules if name.startswith("studies.")]
    assert ours == ["studies.registration"]


def test_evaluate_is_a_command_that_explains_itself(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--help"])
    assert stopped.value.code == 0
    assert "mcdm_core evaluate" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "measure experts and their products\n" in capsys.readouterr().out
