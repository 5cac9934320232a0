"""The pictures that the example workflows load."""

from __future__ import annotations

import filecmp
import logging
from pathlib import Path

import folder_paths

from ....mcdm_core.system.formats import write_bytes
from ....mcdm_core.system.shipped import EXAMPLES

logger = logging.getLogger(__name__)

PREFIX = "mcdm_"


def install_example_inputs() -> None:
    """Copy the example pictures into ComfyUI's input folder, where Load Image finds them.

    Load Image lists no subfolders, and the page reports pictures in subfolders as missing; so a prefix of the names
    separates them from the user's own. Copies that differ from the pack's files are replaced, so that workflows stay
    reproducible after an update.
    """
    folder = Path(folder_paths.get_input_directory())
    try:
        for example in sorted(EXAMPLES.glob("*.png")):
            _update(example, folder / f"{PREFIX}{example.name}")
    except OSError as error:
        logger.warning(
            "The example pictures could not be copied to %s (%s); copy %s there yourself.", folder, error, EXAMPLES
        )


def _update(example: Path, copy: Path) -> None:
    if not copy.exists() or not filecmp.cmp(example, copy, shallow=False):
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(copy, example.read_bytes())
