"""Runs commands and says which."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .environment import ROOT


def run(command: Sequence[str | Path], environment: dict[str, str] | None = None, folder: Path = ROOT) -> int:
    """Show a command and run it in a folder; returns its exit code."""
    say("$ " + " ".join(str(part) for part in command))
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
