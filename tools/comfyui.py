"""Finds the ComfyUI that the node tests run in, and what it requires."""

import os
import re
from pathlib import Path

from .environment import ROOT

# ComfyUI runs without torchaudio, and its builds often do not match the installed torch.
SKIPPED_REQUIREMENTS = {"torchaudio"}
# ComfyUI 0.3.64 imports requests without listing it: older versions of transformers brought it along.
UNLISTED_REQUIREMENTS = ["requests"]


def find_comfyui() -> Path | None:
    """Return the first ComfyUI folder among COMFYUI_PATH, the one this pack is installed in, and ~/ComfyUI.

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
    return next((folder for folder in candidates if _is_comfyui(folder)), None)


def comfyui_requirements(folder: Path) -> list[str]:
    """Return the lines of ComfyUI's requirements.txt, less what it runs without and with what it forgets."""
    lines = [line.split("#")[0].strip() for line in (folder / "requirements.txt").read_text().splitlines()]
    listed = [line for line in lines if line and _package_name(line) not in SKIPPED_REQUIREMENTS]
    return listed + UNLISTED_REQUIREMENTS


def _is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def _package_name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()
