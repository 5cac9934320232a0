"""The pictures that the example workflows load."""

from __future__ import annotations

import filecmp
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import folder_paths

from ....mcdm_core.system.formats import write_bytes
from ....mcdm_core.system.shipped import EXAMPLES
from ..comfyui.prompt_server import prompt_server

logger = logging.getLogger(__name__)

PREFIX = "mcdm_"
FORMER_SUBFOLDER = "mcdm"


def install_example_inputs() -> None:
    """Copy the example pictures into ComfyUI's input folder, where Load Image finds them.

    Load Image lists no subfolders, and the page reports pictures in subfolders as missing; so a prefix of the names
    separates them from the user's own. Workflows of earlier versions name them in a subfolder: there they are copied
    when a prompt that names them is queued.
    """
    _install((example, f"{PREFIX}{example.name}") for example in _examples())
    server = prompt_server()
    if server is not None:
        server.add_on_prompt_handler(install_former_inputs)


def install_former_inputs(json_data: dict[str, Any]) -> dict[str, Any]:
    """Copy the example pictures that a prompt names in the former subfolder; returns the request unchanged."""
    asked = json.dumps(json_data.get("prompt"))
    former = ((example, f"{FORMER_SUBFOLDER}/{example.name}") for example in _examples())
    _install((example, name) for example, name in former if name in asked)
    return json_data


def _examples() -> list[Path]:
    return sorted(EXAMPLES.glob("*.png"))


def _install(named: Iterable[tuple[Path, str]]) -> None:
    """Copy pictures into the input folder, each under a name.

    Copies that differ from the pack's files are replaced, so that workflows stay reproducible after an update.
    """
    folder = Path(folder_paths.get_input_directory())
    try:
        for example, name in named:
            _update(example, folder / name)
    except OSError as error:
        logger.warning(
            "The example pictures could not be copied to %s (%s); copy %s there yourself.", folder, error, EXAMPLES
        )


def _update(example: Path, copy: Path) -> None:
    if not copy.exists() or not filecmp.cmp(example, copy, shallow=False):
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(copy, example.read_bytes())
