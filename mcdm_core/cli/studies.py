"""Lets the research beside the core register its command, its trainings and its kinds of data.

It is the folder `studies` beside `mcdm_core`, which the repository holds and the archive of the ComfyUI registry leaves
out. Where it is missing, whatever it would have registered says so.
"""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..training.kinds import register_kind
from ..training.sections import register_section
from .commands import Command, register_command

FOLDER = Path(__file__).resolve().parents[2] / "studies"


def register_studies() -> None:
    """Register what the folder beside the core offers, or what says that it is missing."""
    if _lies_beside():
        importlib.import_module("studies.registration").register()
        return
    description = "measure experts and their products (not here: it needs the repository's folder studies/)"
    register_command("evaluate", Command(_refusal("evaluate"), description))
    register_section("gan", _refusal("a section [gan]"))
    register_kind("mixture", _refusal("a mixture of drawings"))
    for kind in ("faces", "landscapes", "animals"):
        register_kind(kind, _refusal(f"drawn {kind}"))


def _lies_beside() -> bool:
    """Whether importing it by its name gives that folder, and not any other of this name on Python's path."""
    found = importlib.util.find_spec("studies")
    origin = found.origin if found else None
    return origin is not None and Path(origin).resolve() == FOLDER / "__init__.py"


def _refusal(wanted: str) -> Callable[..., NoReturn]:
    def refuse(*arguments: object) -> NoReturn:
        raise ValueError(
            f"Expected the folder studies/ in {FOLDER.parent} for {wanted} and found none; run this in a clone of the "
            "repository: the archive of the ComfyUI registry leaves that folder out."
        )

    return refuse
