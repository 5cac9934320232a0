"""Folders of results: their names, and files that belong together."""

from collections.abc import Mapping
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
