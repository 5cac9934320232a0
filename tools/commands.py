"""What `python -m tools` can do: the demo, the tests, and the checks of style and types."""

import os
from pathlib import Path

from .comfyui import STAND_INS, comfyui_requirements, comfyui_version, find_comfyui
from .environment import ensure_environment
from .process import run, say
from .type_checks import check_types

MOST_WORKERS = 8  # each worker of the node tests takes up to 2 GB of memory
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # in the processes that tests start; workers set it (tests/conftest.py)


def demo(arguments: list[str]) -> int:
    """Run `python -m mcdm_core demo` in an environment that holds requirements.txt."""
    python = ensure_environment(".venv-demo", ["requirements.txt"])
    return run([python, "-m", "mcdm_core", "demo", "--overwrite", *arguments])


def lint() -> int:
    """Check style and format, then the types."""
    python = _test_environment(find_comfyui())
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        if code := run([python, "-m", *command]):
            return code
    return types()


def types() -> int:
    """Check the types with mypy."""
    return check_types(_test_environment(find_comfyui()))


def format_code() -> int:
    """Mend what ruff can mend, and format."""
    python = _test_environment(find_comfyui())
    return run([python, "-m", "ruff", "check", "--fix", "."]) or run([python, "-m", "ruff", "format", "."])


def test(arguments: list[str]) -> int:
    """Run the linters, the tests of core and studies with coverage, and the node tests where a ComfyUI is found.

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
        say("Core tests passed. Node tests SKIPPED: no ComfyUI in COMFYUI_PATH, around this folder or in ~/ComfyUI.")
        return 0
    if code := _node_tests(python, comfyui, arguments):
        return code
    say(f"Core tests passed, and node tests in ComfyUI {comfyui_version(comfyui)} ({comfyui}).")
    return 0


def _core_tests(python: Path, arguments: list[str]) -> int:
    # `-m pytest` puts the repository's root on sys.path, which is where the core's tests find mcdm_core.
    tests = ["tests/core", "tests/studies", "--cov", *_in_parallel(), *arguments]
    return run([python, "-m", "pytest", *tests], os.environ | ONE_THREAD)


def _node_tests(python: Path, comfyui: Path, arguments: list[str]) -> int:
    # -I keeps the repository's root off sys.path: its nodes/ would hide ComfyUI's own module of that name.
    environment = os.environ | ONE_THREAD | {"COMFYUI_PATH": str(comfyui)}
    return run([python, "-I", "-m", "pytest", "tests/comfy", *_in_parallel(), *arguments], environment)


def _in_parallel() -> list[str]:
    """Options of pytest: a process for each core of the machine, and every file's tests in one of them."""
    workers = str(min(os.cpu_count() or 1, MOST_WORKERS))
    return ["-n", workers, "--dist", "loadscope", "--no-loadscope-reorder", "--durations", "15"]


def _test_environment(comfyui: Path | None) -> Path:
    if comfyui is None:
        return ensure_environment(".venv-test", ["requirements-dev.txt"])
    return ensure_environment(".venv-test", ["requirements-dev.txt"], comfyui_requirements(comfyui), STAND_INS)
