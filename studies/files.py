"""Results: the names of their folders, files that belong together, and tables as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from mcdm_core.system.writer import writing


def check_folder_name(path: Path) -> None:
    """Check that a folder of this name exists or can be made.

    Raises:
        ValueError: It, or one of its parents, is something other than a folder.
    """
    there = next((folder for folder in (path, *path.parents) if folder.exists()), path)
    if there.exists() and not there.is_dir():
        raise ValueError(f"Expected the name of a folder to write to and {there} is none; choose another name.")


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all, or none if one cannot be written; as `writing`."""
    with ExitStack() as stack:
        for path, content in contents.items():
            file = stack.enter_context(writing(path))
            file.write(content)
            file.flush()


def csv_bytes(rows: Iterable[Sequence[object]], end: str = "\n") -> bytes:
    """Rows, including the header, as CSV in UTF-8, each ending in `end`."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue().encode()
