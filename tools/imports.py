"""Checks that each part of the repository imports only what its requirement files name."""

from dataclasses import dataclass
from pathlib import Path

from .environment import ROOT
from .process import run

CORE, TRAINING = "requirements.txt", "requirements-train.txt"
TESTS, HOSTS = "requirements-dev.txt", "requirements-hosts.txt"
COMFYUI = (  # modules that ComfyUI has or brings
    "aiohttp",
    "comfy",
    "comfy_aimdo",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "comfyui_version",
    "execution",
    "folder_paths",
    "latent_preview",
    "main",
    "server",
)


@dataclass(frozen=True)
class Part:
    """Files that may import the same.

    Attributes:
        folder: What holds them.
        requirements: Files that name what they import; what these include counts as well.
        less: A regular expression that matches the beginning of files in the folder that are none of them.
        in_comfyui: Whether they run in a ComfyUI.
    """

    folder: str
    requirements: tuple[str, ...]
    less: str = "$^"
    in_comfyui: bool = False


PARTS = (
    Part("mcdm_core", (CORE,), less="mcdm_core.training"),
    Part("mcdm_core/training", (TRAINING,)),
    Part("studies", (TRAINING, HOSTS)),
    Part("nodes", (CORE, HOSTS), in_comfyui=True),
    Part(".", (CORE, HOSTS), less=r"[^/\\]+[/\\]", in_comfyui=True),  # worker.py
    Part("tools", (HOSTS,)),
    Part("tests", (TESTS, HOSTS), less="tests.comfy"),
    Part("tests/comfy", (TESTS, HOSTS), in_comfyui=True),
    Part("benchmarks", (TESTS, HOSTS), in_comfyui=True),
)


def check_imports(python: Path, root: Path = ROOT) -> int:
    """Run deptry on every part; returns 1 if one imports what its requirement files don't name.

    Args:
        python: The interpreter of an environment with deptry and all that requirements-dev.txt names.
        root: The folder that holds the parts.
    """
    codes = [_check(python, root, part) for part in PARTS]
    return int(any(codes))


def _check(python: Path, root: Path, part: Part) -> int:
    options = ["--config", "tools/deptry.toml", "--requirements-files", ",".join(part.requirements)]
    options += ["--exclude", part.less, "--no-ansi"]
    if part.in_comfyui:
        options += ["--per-rule-ignores", f"DEP001={'|'.join(COMFYUI)}"]
    return run([python, "-m", "deptry", part.folder, *options], folder=root)
