"""The environments of the developer commands, and what may be imported in them."""

import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from tools import environment
from tools.environment import ROOT, ensure_environment
from tools.imports import PARTS, check_imports

ELSEWHERE = {  # part → packages that only other parts may import
    "mcdm_core": ("tomli", "pytest", "ray", "aiohttp"),
    "mcdm_core/training": ("pytest", "ray", "aiohttp"),
    "studies": ("pytest", "psutil", "aiohttp"),
    "nodes": ("tomli", "scipy", "pytest"),
    ".": ("tomli", "scipy", "pytest"),
    "tools": ("torch", "pytest", "aiohttp"),
    "tests": ("aiohttp", "folder_paths"),
}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """An empty clone; its requirements.txt has pip look for packages in that folder alone."""
    (tmp_path / "requirements.txt").write_text(f"--no-index\n--find-links {tmp_path.as_posix()}\nshared\n")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    return tmp_path


def write_wheel(folder, name, version):
    """A package of one module, which knows its version."""
    about = f"{name}-{version}.dist-info"
    wheel = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"version = '{version}'\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", wheel)
        archive.writestr(f"{about}/RECORD", "")


def told(python, code):
    return subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.long
def test_a_layer_has_what_its_base_has_and_its_own_packages_come_first(clone):
    for name, version in (("shared", "1.0"), ("other", "1.0"), ("own", "1.0")):
        write_wheel(clone, name, version)
    base = ensure_environment(".venv-base", ["requirements.txt"], ["other"])
    write_wheel(clone, "other", "2.0")

    def layer():
        return ensure_environment(".venv-layer", ["requirements.txt"], ["other>=2", "own"], base=base)

    python = layer()
    assert told(python, "import own, shared, other; print(own.version, shared.version, other.version)") == "1.0 1.0 2.0"
    assert told(base, "import shared, other; print(shared.version, other.version)") == "1.0 1.0"
    (installed,) = clone.rglob("site-packages/shared.py")
    assert installed.is_relative_to(base.parents[1])

    kept = python.parents[1] / "kept"
    kept.touch()
    layer()
    assert kept.exists()
    os.utime(base.parents[1] / environment.STAMP)  # as where it is built anew
    layer()
    assert not kept.exists()
    assert told(python, "import shared, other; print(shared.version, other.version)") == "1.0 2.0"


def test_an_import_that_no_requirement_file_names_is_told_in_every_part(tmp_path, capfd):
    """Of a package that is nowhere, and of one that another part may import."""
    for file in (*ROOT.glob("requirements*.txt"), ROOT / "tools" / "deptry.toml"):
        (tmp_path / file.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / file.relative_to(ROOT))
    imported = {part.folder: ("undeclared", *ELSEWHERE.get(part.folder, ())) for part in PARTS}
    for folder, packages in imported.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        lines = [f"    import {package}\n" for package in packages]
        (tmp_path / folder / "added.py").write_text("def use():\n" + "".join(lines))
    assert check_imports(sys.executable, tmp_path) == 1
    named = re.findall(r"^(\S*)added\.py:\d+:\d+: DEP00\d '(\w+)'", "".join(capfd.readouterr()), re.MULTILINE)
    prefixes = {"" if folder == "." else f"{folder}/": packages for folder, packages in imported.items()}
    expected = [(prefix, package) for prefix, packages in prefixes.items() for package in packages]
    assert sorted(named) == sorted(expected)


def test_the_linters_don_t_mind_the_name_of_a_clone(tmp_path):
    folder = tmp_path / "ComfyUI-mcdm"
    folder.mkdir()
    for name in ("pyproject.toml", "__init__.py"):
        shutil.copy(ROOT / name, folder / name)
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "."]
    done = subprocess.run(ruff, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout
