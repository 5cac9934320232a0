"""The file that a command writes; it is checked before any work."""

import argparse
from pathlib import Path

from PIL import Image

from ..pictures.files import picture_format, write_picture
from ..system.writer import check_file, make_folder


def add_output(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--output`, a picture, and `--overwrite`."""
    parser.add_argument("--output", type=Path, default=Path(default), help=f"file to write, a picture ({default})")
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add `--overwrite`."""
    parser.add_argument("--overwrite", action="store_true", help="replace the file to write if it exists")


def check_picture(path: Path, overwrite: bool) -> None:
    """Check that a picture can be written there; its folder, or at least that folder's parent, has to exist.

    Raises:
        ValueError: It can't, or the file exists and `overwrite` was not given.
    """
    picture_format(path)
    check_folder(path.parent if path.parent.exists() else path.parent.parent)
    check_free(path, overwrite)


def check_folder(folder: Path) -> None:
    """Check that a folder exists.

    Raises:
        ValueError: It doesn't.
    """
    if not folder.is_dir():
        raise ValueError(f"Expected a folder {folder} to write to and there is none; create it or correct the path.")


def check_free(path: Path, overwrite: bool) -> None:
    """Check that there is no such file, or that it may be replaced.

    Raises:
        ValueError: It may not, or is something other than a file.
    """
    check_file(path)
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already; add --overwrite to replace it, or choose another name.")


def save_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture whose path was checked.

    Raises:
        WriteError: It could not be written; what the file held before is unchanged.
    """
    make_folder(path.parent)
    write_picture(path, picture)
