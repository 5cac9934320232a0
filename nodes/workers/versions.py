"""Versions that have to be the same on a worker and on the ComfyUI that calls it."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
from pathlib import Path

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def versions() -> dict[str, str]:
    """Versions of the pack, ComfyUI, Ray and Python on this machine; Python's without the patch number."""
    stated = re.search(r'^version = "(.+)"$', _PROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        "this pack": stated[1] if stated else "unknown",
        "ComfyUI": str(getattr(importlib.import_module("comfyui_version"), "__version__", "unknown")),
        "Ray": importlib.metadata.version("ray"),
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }


def check_versions(there: dict[str, str], worker: str) -> None:
    """Refuse a worker of other versions.

    Args:
        there: The worker's versions.
        worker: Its name.

    Raises:
        ValueError: If a version differs.
    """
    for name, here in versions().items():
        if there.get(name) != here:
            raise ValueError(
                f"Expected {name} {here} on the worker {worker}, as here, and it has {there.get(name, 'none')}; "
                "install the same version on both machines."
            )
