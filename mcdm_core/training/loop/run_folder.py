"""The folder of a run within `--runs`: for one run at a time, whose files are only replaced on request."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...system.lock import locked
from ...system.names import check_name
from ...system.writer import remove_partials

STATE_FILE = "state.pt"
SHARED = ("data",)
"""Names of folders that all runs share."""


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
    """Whether a run resumes from its state; refuses to replace files of an earlier run without being asked."""
    if resume is None and not overwrite:
        if state.exists():
            raise ValueError(
                f"{state} holds an earlier run; add --resume to go on with it, or --overwrite to begin anew."
            )
        if written.exists():
            raise ValueError(f"{written} exists already; add --overwrite to replace it, or change the run's name.")
    return resume == "state" and state.exists()
