"""Writes all files: whole, or not at all.

A file is written under a temporary name in its own folder, flushed to the disk, and only then renamed. If anything
fails before, such as a full disk, the former file is unchanged, and no temporary file is left behind.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .failures import WriteError

PARTIAL = ".partial"
"""Suffix of temporary files."""

_KEPT = 60  # characters of a file's name in its temporary name, which could be too long otherwise


def check_file(path: Path) -> None:
    """Check that a file of this name can be written: there is none, or one that can be replaced.

    Raises:
        ValueError: It is a folder, or something else that a file must not replace.
    """
    if path.is_dir():
        raise ValueError(f"Expected the name of a file to write and {path} is a folder; add a file's name.")
    if reason := _unfit(path):
        raise ValueError(f"Expected the name of a file to write and {path} {reason}; choose another name.")


def _unfit(path: Path) -> str:
    """Why no file can be written under this name; empty if one can."""
    if path.is_symlink() and os.path.islink(os.path.realpath(path)):
        return "is a link that leads to itself"
    if path.exists() and not path.is_file() and not path.is_dir():
        return "is a device, a pipe or a socket"
    return ""


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file by its name, for libraries that take no open file.

    Its folder has to exist. Its mode is that of the user's umask, whatever mode the library sets.

    Args:
        path: The file; an existing one is replaced.

    Yields:
        The temporary name to write to; within the context, nothing else may raise an `OSError`.

    Raises:
        WriteError: It could not be written.
    """
    path = Path(path)
    if reason := _unfit(path):
        raise refused(path, OSError(errno.EINVAL, f"it {reason}"))
    if path.is_symlink():  # replace its target, not the link
        path = Path(os.path.realpath(path))
    partial = path.with_name(f"{path.name[:_KEPT]}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        mode = _create(partial)
        yield partial
        with contextlib.suppress(OSError):  # some file systems have no modes
            os.chmod(partial, mode)
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except WriteError:
        raise
    except OSError as error:
        raise refused(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _create(path: Path) -> int:
    """Make an empty file and return its mode, which the umask decides and only a new file shows."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Write a file through an open file; otherwise as `replacing`."""
    with replacing(path) as partial, partial.open("wb") as file:
        yield file


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, whole or not at all.

    Raises:
        WriteError: It could not be written; the file is unchanged.
    """
    try:
        with path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            try:
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, end)
                raise
    except OSError as error:
        raise refused(path, error) from error


def remove_partials(folder: Path) -> None:
    """Remove temporary files of killed processes from a folder that nothing else writes to."""
    for partial in folder.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def refused(path: str | os.PathLike, error: Exception) -> WriteError:
    """The error of a file that could not be written because of an exception."""
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = re.sub(r"\s+", " ", str(error)).removeprefix("Error while serializing: I/O error: ")
        reason = re.sub(r" \(os error \d+\)$", "", reason)
    return WriteError(
        f"{os.fspath(path)} could not be written ({reason}), and whatever it held before is unchanged; make room or "
        "choose another place."
    )


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, where they don't exist.

    Raises:
        WriteError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(folder, error) from error
