"""The pictures that the example workflows load."""

from __future__ import annotations

import filecmp
import logging
import shutil
from pathlib import Path

import folder_paths

logger = logging.getLogger(__name__)

EXAMPLES = Path(__file__).resolve().parents[2] / "workflows" / "inputs"
SUBFOLDER = "mcdm"


def install_example_inputs() -> None:
    """Copy the example pictures into ComfyUI's input folder, under `mcdm/`, where Load Image finds them.

    The subfolder is this pack's own: files in it that differ from the pack's are replaced, so that the workflows stay
    reproducible after an update. It also keeps Load Image's own list short.
    """
    target = Path(folder_paths.get_input_directory()) / SUBFOLDER
    try:
        for example in sorted(EXAMPLES.glob("*.png")):
            copy = target / example.name
            if not copy.exists() or not filecmp.cmp(example, copy, shallow=False):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(example, copy)
    except OSError as error:
        logger.warning(
            "The example pictures could not be copied to %s (%s); copy %s there yourself.", target, error, EXAMPLES
        )
