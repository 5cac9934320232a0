"""The core is light, and knows nothing of ComfyUI."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMFYUI = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "server"}
HEAVY = {
    "PIL",
    "dicebear",
    "dicebear_styles",
    "resvg_py",
    "scipy",
    "skimage",
    "torchvision",
    "deepinv",
    "mcdm_core.training",
    "studies",
}


def imported_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after a statement."""
    command = [sys.executable, "-c", f"{statement}; import json, sys; json.dump(list(sys.modules), sys.stdout)"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_importing_the_core_needs_torch_and_little_else():
    modules = imported_by("import mcdm_core")
    assert "torch" in modules
    assert modules & (COMFYUI | HEAVY) == set()


def test_metrics_import_their_libraries_when_they_are_used():
    assert imported_by("import studies.metrics") & (COMFYUI | (HEAVY - {"studies"})) == set()
