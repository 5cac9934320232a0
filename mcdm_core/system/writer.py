"""The one way in which files are written: whole, or not at all.

A file is written under a temporary name in its own folder, flushed to the disk, and takes its name only then. Whatever
fails before, a full disk among it, leaves what had that name as it was, and no other file behind.
"""

import contextlib
import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .failures import WriteError

PARTIAL = ".partial"
"""How temporary names end."""

_KEPT = 60  # characters of a file's name in its temporary one, which may otherwise be too long


def check_file(path: Path) -> None:
    """Check that a file of this name can be written: there is none, or one that can be replaced by another.

    Raises:
        ValueError: It is a folder, or something else whose name a file would take.
    """
    if path.is_dir():
        raise ValueError(f"Expected the name of a file to write and {path} is a folder; add a file's name.")
    if reason := _unfit(path):
        raise ValueError(f"Expected the name of a file to write and {path} {reason}; choose another name.")


def check_folder_name(path: Path) -> None:
    """Check that a folder of this name is there or can be made.

    Raises:
        ValueError: It, or one above it, is the name of something else.
    """
    there = next((folder for folder in (path, *path.parents) if folder.exists()), path)
    if there.exists() and not there.is_dir():
        raise ValueError(f"Expected the name of a folder to write to and {there} is none; choose another name.")


def _unfit(path: Path) -> str:
    """Why no file can take this name, empty where one can."""
    if path.is_symlink() and os.path.islink(os.path.realpath(path)):
        return "is a link that leads to itself"
    if path.exists() and not path.is_file() and not path.is_dir():
        return "is a device, a pipe or a socket"
    return ""


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file by its name, for libraries that take no open file.

    Its folder has to exist. Its mode is what the user's umask leaves, whatever mode the library gives.

    Args:
        path: The file; one of this name is replaced.

    Yields:
        The temporary name to write to; nothing else may be done within that could fail by `OSError`.

    Raises:
        WriteError: It could not be written.
    """
    path = Path(path)
    if reason := _unfit(path):
        raise refused(path, OSError(errno.EINVAL, f"it {reason}"))
    if path.is_symlink():  # what it points to is replaced, not the link
        path = Path(os.path.realpath(path))
    partial = path.with_name(f"{path.name[:_KEPT]}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        mode = _create(partial)
        yield partial
        with contextlib.suppress(OSError):  # some file systems know no modes, and give every file the same
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
    """Make an empty file, and return the mode that the umask leaves it, which only a file made this way tells."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: str | os.PathLike) -> Iterator["Output"]:
    """Write a file through an open one; otherwise as `replacing`."""
    with replacing(path) as partial, partial.open("wb") as file:
        output = Output(file)
        try:
            yield output
            file.flush()
        except Exception:
            if output.error is not None:  # torch covers it with a complaint of its own about the position
                raise output.error from None
            raise


class Output:
    """A binary file to write to that remembers why it could not be written.

    It isn't one of Python's own files, which numpy and Pillow write to by the descriptor and then don't know the reason
    of a failure.

    Args:
        file: The file, open for writing.
    """

    def __init__(self, file: io.BufferedWriter):
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """See `io.BufferedWriter`."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """See `io.BufferedWriter`."""
        try:
            self._file.flush()
        except OSError as error:
            self.error = error
            raise

    def seek(self, *position: int) -> int:
        """See `io.BufferedWriter`."""
        return self._file.seek(*position)

    def tell(self) -> int:
        """See `io.BufferedWriter`."""
        return self._file.tell()

    def read(self, *size: Any) -> bytes:
        """Refused: zip files only ask whether a file has it."""
        raise io.UnsupportedOperation("read")


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, all of it or nothing.

    Raises:
        WriteError: It could not be written; the file is as it was.
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
    """Remove what killed processes have left of files, in a folder that nothing else writes to."""
    for partial in folder.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def refused(path: str | os.PathLike, error: Exception) -> WriteError:
    """The sentence about a file that an exception kept from being written."""
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
    """Make a folder and those above it, where there are none.

    Raises:
        WriteError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(folder, error) from error
