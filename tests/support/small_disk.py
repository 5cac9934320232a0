"""Runs the command line with a limit on the size of files, as on a full disk."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 200  # bytes of a file: only logs are smaller
RUN = f"""
import importlib, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ({MOST}, hard))
if __name__ == "__main__":
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
"""


def run_on_a_full_disk(arguments: list[str], folder: Path, program: str = "mcdm_core.cli.main") -> tuple[int, str]:
    """Run a command of a program in a process of its own; returns its exit code and the last line on stderr."""
    script = folder.parent / f"{folder.name}.py"  # processes that it starts import it again
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{RUN}", encoding="utf-8")
    command = [sys.executable, "-B", str(script), program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    script.unlink()
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


def contents(folder: Path) -> dict[str, bytes]:
    """Name → content of every file in a folder and those below it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
