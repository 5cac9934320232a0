"""Processes that tests start: each ends with the tests, even if these are killed (see `lifeline`)."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from .watchdog import PATIENCE, HungError

LIFELINE = Path(__file__).with_name("lifeline.py")


def start(command: Sequence[str | Path], log: IO[str], **options: Any) -> subprocess.Popen:
    """Start a Python script, or a module after "-m"; see `stop`.

    Args:
        command: The script or module, and its arguments.
        log: File for its stdout and stderr.
        **options: Options of `subprocess.Popen`.
    """
    whole = [sys.executable, LIFELINE, *command]
    return subprocess.Popen(whole, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, **options)


def stop(process: subprocess.Popen) -> None:
    """End a process as it would end with its parent."""
    process.stdin.close()
    wait_for(process)


def wait_for(process: subprocess.Popen) -> int:
    """Wait until a process has ended; returns its exit code."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise HungError(f"the end of {process.args}") from None


def is_at_work(process: Any) -> bool:
    """Whether psutil's process is still running; a container may keep an ended one as a zombie."""
    return process.is_running() and process.status() != "zombie"


def run(command: Sequence[str | Path], **options: Any) -> tuple[int, str]:
    """Run a script or module to its end; returns its exit code and what it wrote. See `start`."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = start(command, log, **options)
        try:
            code = wait_for(process)
        finally:
            stop(process)
        log.seek(0)
        return code, log.read()
