"""What the ComfyUI registry's archive holds: as comfy-cli packs it, the files that git tracks less .comfyignore's."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

import pathspec
import pytest

from ..support.pages import README, pictures_of

ROOT = Path(__file__).resolve().parents[2]
MOST = 72_000_000  # bytes, of which the experts are 59 and their VAE 5
PARTS = {
    "CHANGELOG.md", "CITATION.cff", "__init__.py", "LICENSE", "NOTICE.md", "README.md", "docs", "experts", "locales",
    "mcdm_core", "nodes", "pyproject.toml", "requirements-hosts.txt", "requirements-train.txt", "requirements.txt",
    "subgraphs", "vae", "web", "worker.py", "workflows",
}  # fmt: skip


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """All that git tracks, as comfy-cli asks for it."""
    try:
        listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("what is packed is what git tracks, and this is no clone")
    return listed.splitlines()


@pytest.fixture(scope="module")
def archive(tracked) -> dict[str, int]:
    """Sizes of the packed files by name."""
    patterns = pathspec.GitIgnoreSpec.from_lines((ROOT / ".comfyignore").read_text().splitlines())
    packed = [name for name in tracked if not patterns.match_file(name)]
    return {name: (ROOT / name).stat().st_size for name in packed if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def extracted(archive, tmp_path_factory) -> Path:
    """What a user has of it."""
    folder = tmp_path_factory.mktemp("archive") / "mcdm"
    for name in archive:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    yield folder
    shutil.rmtree(folder)


def test_it_is_no_larger_than_it_has_to_be(archive):
    sizes = Counter()
    for name, size in archive.items():
        sizes["/".join(PurePosixPath(name).parts[:2])] += size
    total = sum(sizes.values())
    largest = "\n".join(f"{size / 1e6:8.2f} MB  {part}" for part, size in sizes.most_common(20))
    assert total <= MOST, f"{total / 1e6:.2f} MB, of which\n{largest}"


def test_it_holds_what_runs_and_nothing_else(archive):
    assert {PurePosixPath(name).parts[0] for name in archive} == PARTS


def test_whole_packages_are_in_it(archive, tracked):
    for part in ("nodes", "mcdm_core", "workflows", "subgraphs", "locales", "web", "experts"):
        assert {name for name in tracked if name.startswith(f"{part}/")} <= archive.keys()


def test_names_are_such_as_git_prints_without_quotes(tracked):
    assert not [name for name in tracked if name.startswith('"')]  # comfy-cli would look for the quoted name


def test_patterns_begin_at_the_root_and_each_leaves_something_out(tracked):
    lines = [line for line in (ROOT / ".comfyignore").read_text().splitlines() if not line.startswith("#")]
    for line in lines:
        assert line.startswith("/")
        assert any(pathspec.GitIgnoreSpec.from_lines([line]).match_files(tracked)), line


def test_pictures_of_the_readme_are_in_it_or_on_the_web_and_no_others(archive):
    local = {picture for picture in pictures_of(README) if not picture.startswith("https://")}
    assert local <= archive.keys()
    assert {name for name in archive if name.startswith("docs/") and not name.endswith(".md")} <= local


def test_the_page_of_files_says_how_large_it_is(archive):
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    (stated,) = re.findall(r"archive takes (\d+) MB", page)
    assert abs(sum(archive.values()) / 1e6 - int(stated)) < 1


def run(extracted: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=extracted, capture_output=True, text=True, encoding="utf-8", check=False)


def test_the_core_reads_an_expert_in_it(extracted):
    told = run(extracted, "-m", "mcdm_core", "info", "experts/hair.safetensors")
    assert told.returncode == 0, told.stderr
    assert "hair" in told.stdout


IMPORT_ALL = """
import importlib, pkgutil, mcdm_core
for module in pkgutil.walk_packages(mcdm_core.__path__, "mcdm_core."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_nothing_that_is_left_out_is_imported(extracted):
    imported = run(extracted, "-c", IMPORT_ALL)
    assert imported.returncode == 0, imported.stderr
