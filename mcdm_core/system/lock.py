"""Locks a folder for one process at a time.

The lock is the operating system's, on an open file: it ends with the process, however that ends, so no stale lock is
ever left behind.

It is not filelock, which torch requires in any version: up to 3.20 at least, forked processes keep the lock of a killed
parent, and a folder on a file system without locks seems to be in use.
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
    """Close lock files after a fork: a child that outlives its killed parent would keep the lock."""
    for file in _held:
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process; a missing folder is made, and removed again if it stays empty.

    Raises:
        ForeseenError: Another process has locked it.
        WriteError: It cannot be made.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    make_folder(folder)
    path = folder / LOCK_FILE
    try:
        file = _acquire(path, folder)
        try:
            yield
        finally:
            _release(file, path)
    finally:
        _remove_empty(made)


def _acquire(path: Path, folder: Path) -> io.FileIO:
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
        except OSError as error:  # some network file systems have no locks
            log.warning("%s cannot be locked (%s); see to it that only one run uses it.", folder, error)
        if _is(file, path):
            break
        file.close()  # the run that held the lock before has removed the file in the meantime
    try:
        file.truncate(0)
        file.write(str(os.getpid()).encode())
    except OSError as error:
        _release(file, path)
        raise refused(path, error) from error
    _held.add(file)
    return file


def _release(file: io.FileIO, path: Path) -> None:
    _held.discard(file)
    if sys.platform == "win32":  # a file cannot be removed there while any process has it open
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
    """Whether the path still leads to this open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, up to the first that isn't empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: io.FileIO) -> None:
        file.seek(1 << 30)  # beyond the content, which other processes must be able to read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: io.FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
