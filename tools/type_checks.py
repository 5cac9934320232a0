"""Checks the types of the core, the studies and the tools, and then of the nodes, which are part of another package."""

import shutil
from pathlib import Path

from .environment import ROOT
from .process import run

CACHE = ROOT / ".mypy_cache"
PACK = "mcdm"
PARTS = ("__init__.py", "nodes", "mcdm_core")


def check_types(python: Path) -> int:
    """Run mypy; returns its exit code.

    Args:
        python: The interpreter of an environment with mypy and all that is imported, ComfyUI aside.
    """
    mypy: list[str | Path] = [python, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", CACHE]
    return run(mypy) or run([*mypy, "-m", PACK, "-p", f"{PACK}.nodes"], folder=_copy_pack())


def _copy_pack() -> Path:
    """Copy what ComfyUI imports into a package whose name is one, and return the folder that holds it.

    Checked where they lie, the nodes would be a top-level package `nodes`, which has no parent to import the core from
    and takes the place of ComfyUI's module; and a clone's folder may have any name.
    """
    folder = CACHE / "pack"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / PACK).mkdir(parents=True)
    for name in PARTS:
        source, target = ROOT / name, folder / PACK / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return folder
