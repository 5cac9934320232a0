"""What has to be the same on both sides."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
from pathlib import Path

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def versions() -> dict[str, str]:
    """Of the pack, ComfyUI, Ray and Python, here; of Python the minor version."""
    found = re.search(r'^version = "(.+)"$', _PROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        "this pack": found[1] if found else "unknown",
        "ComfyUI": str(getattr(importlib.import_module("comfyui_version"), "__version__", "unknown")),
        "Ray": importlib.metadata.version("ray"),
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }


def check_versions(there: dict[str, str], worker: str) -> None:
    """Refuse a worker of other versions.

    Args:
        there: What the worker says.
        worker: Its name.

    Raises:
        ValueError: If one differs.
    """
    for name, here in versions().items():
        if there.get(name) != here:
            raise ValueError(
                f"Expected {name} {here} on the worker {worker}, as here, and it has {there.get(name, 'none')}; "
                "install the same version on both machines."
            )
