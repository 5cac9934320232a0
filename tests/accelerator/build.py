"""Builds the extension once for a version of torch and of the sources, into the environment of the tests."""

import contextlib
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType

NAME = "mcdm_accelerator"
SOURCE = Path(__file__).with_name("source")
SUFFIX = ".pyd" if sys.platform == "win32" else ".so"


class NotBuiltError(RuntimeError):
    """The extension doesn't build here; the message is one sentence and says why."""


def extension() -> ModuleType:
    """The extension, built where it isn't yet.

    Raises:
        NotBuiltError: As `build`.
    """
    if NAME not in sys.modules:
        loader = importlib.machinery.ExtensionFileLoader(NAME, str(build()))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(NAME, loader))
        loader.exec_module(module)
        sys.modules[NAME] = module
    return sys.modules[NAME]


def build() -> Path:
    """Build the extension where it isn't yet; returns its file.

    Several processes may do so at once: each that finds none builds one, and puts it in its place whole.

    Raises:
        NotBuiltError: There is no compiler or no ninja, the sources don't fit this torch, or there is no place for it.
    """
    file = _file()
    if not file.exists():
        try:
            file.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=file.parent, prefix="building-") as folder:
                _compile(folder)
                os.replace(Path(folder) / f"{NAME}{SUFFIX}", file)
        except OSError as error:
            raise NotBuiltError(f"The accelerator of the tests can't be kept in {file.parent}: {error}.") from error
    return file


def _file() -> Path:
    """Where it is kept: one for each version of torch, of Python and of the sources."""
    import torch

    content = hashlib.sha256()
    for source in sorted(SOURCE.iterdir()):
        content.update(source.read_bytes())
    of = f"torch-{torch.__version__}-{sys.implementation.cache_tag}-{content.hexdigest()[:16]}"
    return Path(sys.prefix) / "mcdm-accelerator" / f"{of}{SUFFIX}"


def _programs() -> list[str]:
    """Where programs are: of this environment, and of the one below it, which has ninja where this one is a layer."""
    folders = [sysconfig.get_path("scripts")]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # it may be the system's
        files = importlib.metadata.files("ninja") or []
        folders += [str(Path(str(f.locate())).resolve().parent) for f in files if f.name in ("ninja", "ninja.exe")]
    return folders


def _compile(folder: str) -> None:
    """Run this file: what compiles also loads the library, which must not happen to one that is moved afterwards."""
    ninja = {"PATH": os.pathsep.join([*_programs(), os.environ.get("PATH", "")])}
    command = [sys.executable, "-I", __file__, folder]
    done = subprocess.run(
        command, env=os.environ | ninja, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        said = [line for line in lines if " error: " in line] or lines[-1:]
        raise NotBuiltError(
            f"The accelerator of the tests doesn't build, which takes a C++ compiler and ninja: {said[0]}"
        )


if __name__ == "__main__":
    from torch.utils.cpp_extension import load

    flags = [] if sys.platform == "win32" else ["-O1", "-g0"]
    load(NAME, sorted(map(str, SOURCE.glob("*.cpp"))), flags, build_directory=sys.argv[1], verbose=True)
