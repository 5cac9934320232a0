"""Folders that one process at a time works in.

The lock is the operating system's, on an open file: it ends with the process, however that ends, so that none is ever
left behind.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .failures import ForeseenError
from .writer import make_folder, refused

log = logging.getLogger(__name__)

LOCK_FILE = "lock"


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


def _taken(path: Path, folder: Path) -> BinaryIO:
    while True:
        try:
            file = path.open("a+b")
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
        file.flush()
    except OSError as error:
        _give_back(file, path)
        raise refused(path, error) from error
    return file


def _give_back(file: BinaryIO, path: Path) -> None:
    if os.name == "nt":  # an open file cannot be removed there, and one that another has opened can't either
        file.close()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    else:
        path.unlink(missing_ok=True)
        file.close()


def _owner(file: BinaryIO) -> str:
    file.seek(0)
    number = file.read(20).decode(errors="replace")
    return f" (process {number})" if number.isdecimal() else ""


def _is(file: BinaryIO, path: Path) -> bool:
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


if os.name == "nt":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(1 << 30)  # beyond the content, which others could not read otherwise
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
