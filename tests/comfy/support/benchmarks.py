"""Commands of `benchmarks/`, run to their end as users run them."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


def ran(module: str, *arguments: Any, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A module run from the repository, which ended with this exit code."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == code, done.stderr
    return done


def figures_of(folder: Path, module: str, *arguments: Any) -> tuple[list[str], list[dict[str, str]]]:
    """The lines that such a module writes, and the rows of its CSV file, which is put into this folder."""
    figures = folder / "figures.csv"
    lines = ran(module, *arguments, "--csv", figures).stdout.splitlines()
    with figures.open(encoding="utf-8", newline="") as file:
        return lines, list(csv.DictReader(file))
