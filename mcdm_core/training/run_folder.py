"""The folder of a run: within `--runs`, one run in it at a time, and nothing in it lost without being asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..system.lock import locked
from ..system.names import check_name
from ..system.writer import remove_partials

STATE_FILE = "state.pt"
SHARED = ("data",)
"""Folders beside those of runs."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder while the run is in it.

    Attributes:
        path: The folder.
        written: The file that the run is for.
        resumed: Whether it goes on from the state that is saved there.
    """

    path: Path
    written: Path
    resumed: bool


@contextmanager
def run_folder(runs: Path, name: str, resume: str | None = None, overwrite: bool = False) -> Iterator[RunFolder]:
    """Enter the folder of a run, which is made where there is none and removed where it stays empty.

    Args:
        runs: Folder of all runs.
        name: The run's.
        resume: None to begin anew; "state" to go on where the run stopped, or to begin where there is no state; or a
            file to begin with.
        overwrite: Whether a run that begins anew may replace what an earlier one of the name has left.

    Raises:
        ValueError: The name is none of a folder, or there is something of an earlier run and it was not said what to do
            with it.
        ForeseenError: Another run is in the folder.
        WriteError: It cannot be made.
    """
    check_name(name, SHARED)
    folder = runs / name
    with locked(folder):
        remove_partials(folder)
        written = folder / f"{name}.safetensors"
        yield RunFolder(folder, written, _goes_on(folder / STATE_FILE, written, resume, overwrite))


def _goes_on(state: Path, written: Path, resume: str | None, overwrite: bool) -> bool:
    if resume is None and not overwrite:
        if state.exists():
            raise ValueError(
                f"{state} holds an earlier run; add --resume to go on with it, or --overwrite to begin anew."
            )
        if written.exists():
            raise ValueError(f"{written} exists already; add --overwrite to replace it, or change the run's name.")
    return resume == "state" and state.exists()
