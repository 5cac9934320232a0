"""The package that `pip install .` makes, in an environment that holds only what the package asks for."""

import importlib.metadata
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
import tomli
from packaging.requirements import Requirement

from mcdm_core.system.shipped import EXAMPLES, EXPERTS
from tools.environment import environment_python

from ..support.pages import PYTHON_PAGE, ROOT

PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAPPED = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
SHIPPED = "mcdm_core/shipped"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def run(command: list[str | Path], folder: Path) -> str:
    """Run a command in a folder, and return what it wrote."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_of(folder: str) -> list[str]:
    """Names of the checkout's files in a folder, less what Python compiled."""
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [path.relative_to(ROOT).as_posix() for path in files]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package, built in the checkout without a look at the network."""
    folder = tmp_path_factory.mktemp("wheel")
    run([*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], folder)
    assert not [*ROOT.glob("build"), *ROOT.glob("*.egg-info")]  # the pack's folder is left as it was
    (built,) = folder.iterdir()
    return built


def asked_for(requirements: list[str], found: dict[str, importlib.metadata.Distribution]) -> None:
    """Add to `found` the installed distributions of requirement lines, and all that these ask for, by name."""
    for requirement in map(Requirement, requirements):
        if requirement.name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found[requirement.name] = importlib.metadata.distribution(requirement.name)
            asked_for(found[requirement.name].requires or [], found)


def top_level(distribution: importlib.metadata.Distribution) -> Iterator[Path]:
    """The files and folders of a distribution in site-packages."""
    for name in {PurePosixPath(file).parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
        yield Path(str(distribution.locate_file(name)))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment with the package, links to what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = environment_python(folder)
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    found: dict[str, importlib.metadata.Distribution] = {}
    asked_for(PROJECT["project"]["dependencies"], found)
    for distribution in found.values():
        for path in top_level(distribution):
            if not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    run([*PIP, "--python", python, "install", "--quiet", "--no-index", wheel], folder)
    return python


def test_the_folders_of_the_checkout_are_mapped_to_where_the_package_looks():
    assert {folder: f"{SHIPPED}/{folder}" for folder in MAPPED} == MAPPED
    assert {EXPERTS.relative_to(ROOT).as_posix(), EXAMPLES.relative_to(ROOT).as_posix(), "vae"} == MAPPED.keys()
    assert not (ROOT / SHIPPED).exists()  # in a checkout it looks beside itself


@pytest.mark.long
def test_the_wheel_holds_the_core_what_ships_and_licences(wheel):
    expected = {*files_of("mcdm_core"), *(f"{SHIPPED}/{name}" for folder in MAPPED for name in files_of(folder))}
    with zipfile.ZipFile(wheel) as archive:
        held = {*archive.namelist()}
    about = {name for name in held if name.startswith("mcdm-")}
    assert held - about == expected
    assert {PurePosixPath(name).name for name in about} >= {"LICENSE", "NOTICE.md", "METADATA"}


@pytest.mark.long
def test_it_loads_what_the_checkout_has_by_name(python, tmp_path):
    told = run([python, "-I", "-m", "mcdm_core", "info", "hair"], tmp_path)
    assert "expert 'hair'" in told
    code = "from mcdm_core import load_expert; print(load_expert('hair').vae is not None)"
    assert run([python, "-I", "-c", code], tmp_path).strip() == "True"


@pytest.mark.long
def test_the_demo_is_drawn_from_it(python, tmp_path):
    run([python, "-I", "-m", "mcdm_core", "demo", "--steps", "2"], tmp_path)
    assert (tmp_path / "out" / "demo.png").is_file()


@pytest.mark.long
def test_the_session_of_the_page_runs_in_an_empty_folder(python, tmp_path):
    run([python, "-I", "-m", "doctest", "-o", "ELLIPSIS", PYTHON_PAGE], tmp_path)
    assert (tmp_path / "scene.png").is_file()
