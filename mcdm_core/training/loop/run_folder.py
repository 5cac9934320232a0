"""The folder of a run within `--runs`: for one run at a time, whose files are only replaced on request."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...system.lock import locked
from ...system.writer import remove_partials

LONGEST = 100  # characters; file systems take 255 bytes, including suffixes
STATE_FILE = "state.pt"
SHARED = ("data",)
"""Names of folders that all runs share."""

_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³")}
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


@dataclass(frozen=True)
class RunFolder:
    """A run's folder while the run uses it.

    Attributes:
        path: The folder.
        written: The file that the run writes.
        resumed: Whether the run resumes from the state saved there.
    """

    path: Path
    written: Path
    resumed: bool


@contextmanager
def run_folder(runs: Path, name: str, resume: str | None = None, overwrite: bool = False) -> Iterator[RunFolder]:
    """Lock the folder of a run, which is made if it is missing and removed if it stays empty.

    Args:
        runs: Folder of all runs.
        name: Name of the run.
        resume: None to begin anew; "state" to continue where the run stopped, or to begin where there is no state; or a
            file to begin with.
        overwrite: Whether a new run may replace files of an earlier one of its name.

    Raises:
        ValueError: The name is not valid for a folder, or there are files of an earlier run and neither `resume` nor
            `overwrite` was given.
        ForeseenError: Another run uses the folder.
        WriteError: It cannot be made.
    """
    check_name(name, SHARED)
    folder = runs / name
    with locked(folder):
        remove_partials(folder)
        written = folder / f"{name}.safetensors"
        yield RunFolder(folder, written, _is_resumed(folder / STATE_FILE, written, resume, overwrite))


def _is_resumed(state: Path, written: Path, resume: str | None, overwrite: bool) -> bool:
    """Whether a run resumes from its state; refuses to replace files of an earlier run without being told to."""
    if resume is None and not overwrite:
        if state.exists():
            raise ValueError(
                f"{state} holds an earlier run; add --resume to go on with it, or --overwrite to begin anew."
            )
        if written.exists():
            raise ValueError(f"{written} exists already; add --overwrite to replace it, or change the run's name.")
    return resume == "state" and state.exists()


def check_name(name: str, taken: tuple[str, ...] = ()) -> None:
    """Check that a name is valid for a file or folder on every system, and is no path.

    Args:
        name: The name, without a suffix.
        taken: Names that are already used for something else in the same folder.

    Raises:
        ValueError: It isn't valid, or is taken.
    """
    if not name.strip():
        problem = "is empty"
    elif found := _FORBIDDEN.search(name):
        problem = f"has {found[0]!r} in it"
    elif name != name.strip() or name[0] == "." or name[-1] == ".":
        problem = "begins or ends with a dot or a space"
    elif name.split(".")[0].rstrip().upper() in _RESERVED:
        problem = "is a device of Windows"
    elif len(name) > LONGEST:
        problem = f"has {len(name)} characters, more than {LONGEST}"
    elif name.lower() in taken:
        problem = "is that of a folder which all runs share"
    else:
        return
    raise ValueError(
        f"Expected a name that a folder can have, without any path, and {name!r} {problem}; give it a plain name such "
        'as "mine".'
    )
