"""What `python -m tools` can do: the demo, the tests, and the checks of style and types."""

import os
import subprocess
import sys
from pathlib import Path

from .comfyui import comfyui_requirements, find_comfyui
from .environment import ROOT, ensure_environment


def demo(arguments: list[str]) -> int:
    """Run `python -m mcdm_core demo` in an environment that holds requirements.txt."""
    python = ensure_environment(".venv-demo", ["requirements.txt"])
    return run([python, "-m", "mcdm_core", "demo", *arguments])


def lint() -> int:
    """Check style and format, then the types."""
    python = _test_environment(find_comfyui())
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        if code := run([python, "-m", *command]):
            return code
    return types()


def types() -> int:
    """Check the types with mypy."""
    return run([_test_environment(find_comfyui()), "-m", "mypy"])


def format_code() -> int:
    """Mend what ruff can mend, and format."""
    python = _test_environment(find_comfyui())
    return run([python, "-m", "ruff", "check", "--fix", "."]) or run([python, "-m", "ruff", "format", "."])


def test(arguments: list[str]) -> int:
    """Run the linters, the core's tests with coverage, and the node tests where a ComfyUI is found.

    Args:
        arguments: Passed on to both pytest runs.

    Returns:
        0, or the exit code of the first step that failed.
    """
    comfyui = find_comfyui()
    python = _test_environment(comfyui)
    code = lint() or _core_tests(python, arguments)
    if code:
        return code
    if comfyui is None:
        _say(
            "Core tests passed. ComfyUI tests SKIPPED: no ComfyUI in COMFYUI_PATH, around this folder or in ~/ComfyUI."
        )
        return 0
    if code := _comfyui_tests(python, comfyui, arguments):
        return code
    _say(f"Core tests and ComfyUI tests passed; none skipped for want of ComfyUI ({comfyui}).")
    return 0


def _core_tests(python: Path, arguments: list[str]) -> int:
    # `-m pytest` puts the repository's root on sys.path, which is where the core's tests find mcdm_core.
    code = run([python, "-m", "coverage", "run", "-m", "pytest", "tests/core", "tests/studies", *arguments])
    return code or run([python, "-m", "coverage", "report"])


def _comfyui_tests(python: Path, comfyui: Path, arguments: list[str]) -> int:
    # -I keeps the repository's root off sys.path: its nodes/ would hide ComfyUI's own module of that name.
    environment = os.environ | {"COMFYUI_PATH": str(comfyui)}
    return run([python, "-I", "-m", "pytest", "tests/comfy", *arguments], environment)


def _test_environment(comfyui: Path | None) -> Path:
    extra = comfyui_requirements(comfyui) if comfyui else []
    return ensure_environment(".venv-test", ["requirements-dev.txt"], extra)


def run(command: list[str | Path], environment: dict[str, str] | None = None) -> int:
    """Show a command and run it in the clone; returns its exit code."""
    _say("$ " + " ".join(str(part) for part in command))
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
