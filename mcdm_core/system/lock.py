"""Folders that one process at a time works in.

The lock is the operating system's, on an open file: it ends with the process, however that ends, so that none is ever
left behind.

It is not filelock's, which torch requires in any version: up to 3.20 at least, processes that were forked keep the lock
of a killed parent, and file systems without locks are mistaken for folders in use.
"""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .failures import ForeseenError
from .writer import make_folder, refused

log = logging.getLogger(__name__)

LOCK_FILE = "lock"

_held: set[io.FileIO] = set()


def _close_in_child() -> None:
    """Processes that draw pictures are forked, and one that outlives its killed parent would keep the lock."""
    for file in _held:
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; made where there is none, and removed again where it stays empty.

    Raises:
        ForeseenError: Another process has it.
        WriteError: It cannot be made.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    make_folder(folder)
    path = folder / LOCK_FILE
    try:
        file = _taken(path, folder)
        try:
            yield
        finally:
            _give_back(file, path)
    finally:
        _remove_empty(made)


def _taken(path: Path, folder: Path) -> io.FileIO:
    while True:
        try:
            file = io.FileIO(path, "a+")
        except OSError as error:
            raise refused(path, error) from error
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            owner = _owner(file)
            file.close()
            raise ForeseenError(
                f"{folder} is in use by another run{owner}; wait until that has ended or stop it, or give this one "
                "another name."
            ) from None
        except OSError as error:  # some network file systems have none
            log.warning("%s cannot be locked (%s); see to it that only one run uses it.", folder, error)
        if _is(file, path):
            break
        file.close()  # the run that had it before has removed it in the meantime
    try:
        file.truncate(0)
        file.write(str(os.getpid()).encode())
    except OSError as error:
        _give_back(file, path)
        raise refused(path, error) from error
    _held.add(file)
    return file


def _give_back(file: io.FileIO, path: Path) -> None:
    _held.discard(file)
    if sys.platform == "win32":  # an open file cannot be removed there, and one that another has opened can't either
        file.close()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    else:
        path.unlink(missing_ok=True)
        file.close()


def _owner(file: io.FileIO) -> str:
    file.seek(0)
    number = file.read(20).decode(errors="replace")
    return f" (process {number})" if number.isdecimal() else ""


def _is(file: io.FileIO, path: Path) -> bool:
    """Whether an open file is still the one of its name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, as far as there is nothing in them."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: io.FileIO) -> None:
        file.seek(1 << 30)  # beyond the content, which others could not read otherwise
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: io.FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
