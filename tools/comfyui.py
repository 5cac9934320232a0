"""Finds the ComfyUI that the node tests run in, and what it requires."""

import os
import re
from pathlib import Path

from .environment import ROOT

TESTED = "0.33.0"  # the newest version that the node tests are known to pass in
# No test makes sound, and PyPI's torchaudio fits no CPU build of torch: it is left out.
SKIPPED_REQUIREMENTS = {"torchaudio"}
# Since 0.33.0, though, ComfyUI imports it unguarded, so the tests' environment gets it empty. No user's ever does.
STAND_INS = ("torchaudio.functional",)


def find_comfyui() -> Path | None:
    """Return the ComfyUI to test in: COMFYUI_PATH's, else the newer of the one around this pack and ~/ComfyUI.

    Returns:
        Its folder, or None if there is none.

    Raises:
        ValueError: COMFYUI_PATH is set, but there is no ComfyUI.
    """
    configured = os.environ.get("COMFYUI_PATH")
    if configured:
        folder = Path(configured).expanduser().resolve()
        if not _is_comfyui(folder):
            raise ValueError(
                f"COMFYUI_PATH should name ComfyUI's folder, the one with main.py in it, but {folder} is not one; "
                "correct the variable or unset it."
            )
        return folder
    candidates = [Path.home() / "ComfyUI"]
    if ROOT.parent.name == "custom_nodes":
        candidates.insert(0, ROOT.parent.parent)
    return max(filter(_is_comfyui, candidates), key=_version_numbers, default=None)


def how_to_get_one() -> str:
    """A line that says by which command `find_comfyui` finds the tested version, and how to name another."""
    there = Path.home() / "ComfyUI"
    get = f'git clone --branch v{TESTED} --depth 1 https://github.com/comfyanonymous/ComfyUI "{there}"'
    return f"To run them, get the tested one: {get} (found there; elsewhere, set COMFYUI_PATH to its folder)"


def comfyui_version(folder: Path) -> str:
    """Return the version that a ComfyUI states in comfyui_version.py, or "of unknown version"."""
    file = folder / "comfyui_version.py"
    stated = re.search(r"""__version__ = ["'](.+?)["']""", file.read_text()) if file.is_file() else None
    return stated.group(1) if stated else "of unknown version"


def comfyui_requirements(folder: Path) -> list[str]:
    """Return the lines of ComfyUI's requirements.txt, less what it runs without."""
    lines = [line.split("#")[0].strip() for line in (folder / "requirements.txt").read_text().splitlines()]
    return [line for line in lines if line and _package_name(line) not in SKIPPED_REQUIREMENTS]


def _is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def _version_numbers(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", comfyui_version(folder)))


def _package_name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()
