"""Virtual environments inside the clone, rebuilt only when what they should hold changes."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def environment_python(folder: Path) -> Path:
    """Return where a virtual environment in `folder` has its interpreter on this system."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_environment(name: str, requirement_files: list[str], extra_requirements: list[str] | None = None) -> Path:
    """Create the virtual environment `name` in the clone, if needed, and install into it.

    Nothing outside that folder is installed or upgraded.

    Args:
        name: Folder below the repository root, such as ".venv-test".
        requirement_files: Requirement files relative to the repository root.
        extra_requirements: Further requirement lines.

    Returns:
        The environment's interpreter.

    Raises:
        subprocess.CalledProcessError: When pip cannot install the requirements.
    """
    folder = ROOT / name
    python = environment_python(folder)
    stamp = folder / "requirements.sha256"
    wanted = _fingerprint(extra_requirements or [])
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python

    venv.create(folder, with_pip=True, clear=True)
    arguments = [argument for file in requirement_files for argument in ("-r", str(ROOT / file))]
    subprocess.run(
        [python, "-m", "pip", "install", "--disable-pip-version-check", *arguments, *(extra_requirements or [])],
        check=True,
        cwd=ROOT,
    )
    # Written last: an interrupted installation is started afresh next time.
    stamp.write_text(wanted)
    return python


def _fingerprint(extra_requirements: list[str]) -> str:
    """Digest of everything that decides what an environment holds: files, further lines and the Python version."""
    digest = hashlib.sha256(sys.version.encode())
    # All files, because requirement files include each other.
    for file in sorted(ROOT.glob("requirements*.txt")):
        digest.update(file.read_bytes())
    digest.update("\n".join(extra_requirements).encode())
    return digest.hexdigest()
