"""Virtual environments inside the clone, rebuilt only when what they should hold changes."""

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = "requirements.sha256"  # a file in each environment, written once it is complete


def environment_python(folder: Path) -> Path:
    """Return where a virtual environment in `folder` has its interpreter on this system."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_environment(
    name: str,
    requirement_files: list[str],
    extra_requirements: Sequence[str] = (),
    stand_ins: Sequence[str] = (),
    base: Path | None = None,
) -> Path:
    """Create the virtual environment `name` in the clone, if needed, and install into it.

    Nothing outside that folder is installed or upgraded.

    Args:
        name: Folder below the repository root, such as ".venv-test".
        requirement_files: Requirement files relative to the repository root.
        extra_requirements: Further requirement lines.
        stand_ins: Modules, such as "torchaudio.functional", that are put there empty where they cannot be imported.
        base: The interpreter of another of these environments, whose packages this one has as well, except those that
            it needs in another version; it is built anew when that is.

    Returns:
        The environment's interpreter.

    Raises:
        subprocess.CalledProcessError: When pip cannot install the requirements.
    """
    folder = ROOT / name
    python = environment_python(folder)
    stamp = folder / STAMP
    # When the base was built stands for what it holds.
    built = [] if base is None else [str((base.parents[1] / STAMP).stat().st_mtime_ns)]
    wanted = _fingerprint([*extra_requirements, *stand_ins, *built])
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python

    venv.create(folder, with_pip=True, clear=True)
    if base is not None:
        _lay_on(python, base)
    arguments = [argument for file in requirement_files for argument in ("-r", str(ROOT / file))]
    subprocess.run(
        [python, "-m", "pip", "install", "--disable-pip-version-check", *arguments, *extra_requirements],
        check=True,
        cwd=ROOT,
    )
    for module in stand_ins:
        ensure_importable(python, module)
    # Written last: an interrupted installation is started afresh next time.
    stamp.write_text(wanted)
    return python


def ensure_importable(python: Path, module: str) -> None:
    """Put an empty module into the site-packages of an interpreter that cannot import the one of that name.

    Args:
        python: The interpreter of a virtual environment.
        module: Its name; its packages are made as well.

    Raises:
        subprocess.CalledProcessError: When it cannot be imported even so.
    """
    import_it = [str(python), "-c", f"import {module}"]
    if subprocess.run(import_it, stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return
    folder = _site_packages(python)
    for part in module.split("."):
        folder /= part
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text("# An empty stand-in, made by tools/environment.py for the tests.\n")
    subprocess.run(import_it, check=True)


def _lay_on(python: Path, base: Path) -> None:
    """Let an interpreter import what another environment in the clone holds; what is in its own comes first."""
    own = _site_packages(python)
    # Relative, as a clone's path may have letters that Python reads in another encoding there.
    (own / "base.pth").write_text(os.path.relpath(_site_packages(base), own) + "\n")


def _site_packages(python: Path) -> Path:
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())


def _fingerprint(further: list[str]) -> str:
    """Digest of everything that decides what an environment holds: files, further lines and the Python version."""
    digest = hashlib.sha256(sys.version.encode())
    # All files, because requirement files include each other.
    for file in sorted(ROOT.glob("requirements*.txt")):
        digest.update(file.read_bytes())
    digest.update("\n".join(further).encode())
    return digest.hexdigest()
