"""Input files of prompts, named by digests of their content, so that a worker gets each only once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import folder_paths

from ...mcdm_core.system.formats import write_bytes
from .cluster import Caller
from .prompt_part import FOLDER

_NAME = re.compile(r"([0-9a-f]{64})(\.[a-z0-9]{1,8})?")


def send_files(call: Caller, files: Mapping[str, Path]) -> None:
    """Send a worker the files that it lacks.

    Args:
        call: Callers the worker.
        files: Files by their names, which are digests of their content.

    Raises:
        ValueError: If the worker refuses a file, or cannot be reached.
    """
    if not files:
        return
    for name in call("lacks", list(files))["lacks"]:
        call("store", name, files[name].read_bytes())


def lacking(names: list[str]) -> list[str]:
    """On a worker, the names of files that are not here."""
    return [name for name in names if not _path(name).is_file()]


def store(name: str, content: bytes) -> None:
    """On a worker, store a file that was sent.

    Raises:
        ValueError: If its name is not the digest of its content.
    """
    match = _NAME.fullmatch(name)
    if match is None or hashlib.sha256(content).hexdigest() != match[1]:
        raise ValueError(f"Expected an input file named after its content and got {name[:80]}; send it again.")
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)


def _path(name: str) -> Path:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"Expected the name of an input file and got {name[:80]}; use the same version of the pack.")
    return Path(folder_paths.get_input_directory()) / FOLDER / name
