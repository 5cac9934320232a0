"""What `python -m tools` can do: the demo, the tests, the API's pages, and the checks of style and types."""

import os
from collections.abc import Sequence
from pathlib import Path

from .comfyui import STAND_INS, comfyui_requirements, comfyui_version, find_comfyui, how_to_get_one
from .environment import ROOT, ensure_environment
from .imports import check_imports
from .process import run, say
from .type_checks import check_types

_ON_ACCELERATOR = 4  # `test_all` runs one of so many cases of the node tests there
MOST_WORKERS = 8  # each worker of the node tests takes up to 2 GB of memory
_OF_TESTS = {  # halves that are neither passed nor failed, by their exit codes
    None: "SKIPPED, no ComfyUI in COMFYUI_PATH, around this folder or in ~/ComfyUI",
    5: "no tests chosen",  # pytest's
}
_OF_CORE = ["tests/core", "tests/studies"]
_LIBRARY = "mcdm_core"


def demo(arguments: list[str]) -> int:
    """Run `python -m mcdm_core demo` in an environment that holds requirements.txt."""
    python = ensure_environment(".venv-demo", ["requirements.txt"])
    return run([python, "-m", "mcdm_core", "demo", "--overwrite", *arguments])


def lint() -> int:
    """Check style and format, then the imports and the types."""
    python = _test_environment()
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        if code := run([python, "-m", *command]):
            return code
    return imports() or types()


def imports() -> int:
    """Check with deptry that nothing is imported that requirement files don't name."""
    return check_imports(_test_environment())


def types() -> int:
    """Check the types with mypy."""
    return check_types(_test_environment())


def format_code() -> int:
    """Mend what ruff can mend, and format."""
    python = _test_environment()
    return run([python, "-m", "ruff", "check", "--fix", "."]) or run([python, "-m", "ruff", "format", "."])


def test(arguments: list[str]) -> int:
    """Run the linters, then the short tests of core and studies, and of the nodes.

    Args:
        arguments: Passed on to both pytest runs.

    Returns:
        0, or 1 if anything failed or no test was chosen; all is run even so.
    """
    comfyui = find_comfyui()
    linters = {"Linters": lint()}
    return _report(linters, _both_halves(comfyui, "short", arguments))


def test_all(arguments: list[str]) -> int:
    """Run the long tests, which `test` leaves out, and some of the nodes' on an accelerator; otherwise as `test`."""
    comfyui = find_comfyui()
    return _report({}, _both_halves(comfyui, "long", arguments) | _on_accelerator(comfyui, arguments))


def coverage(arguments: list[str]) -> int:
    """Run all tests of core and studies, short and long, and show which lines none of them runs.

    It is a command of its own because counting lines costs half as much time again.

    Args:
        arguments: Passed on to pytest; with any, no share of the lines is required.

    Returns:
        0, or another code if a test failed or more lines were left out than pyproject.toml allows.
    """
    python = _test_environment()
    required = ["--cov-fail-under", "0"] if arguments else []
    return run([python, "-m", "pytest", *_OF_CORE, *_in_parallel(), "--cov", *required, *arguments], _one_thread())


def api(arguments: list[str]) -> int:
    """Write pages of mcdm_core's functions and classes, from their docstrings, into out/api/.

    Args:
        arguments: Passed on to pdoc; `-o FOLDER` writes elsewhere.
    """
    python = _test_environment()
    # Asked for a package, pdoc writes the modules that its __all__ names, so modules are named one by one.
    files = sorted((ROOT / _LIBRARY).rglob("[!_]*.py"))
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    written = ["--docformat", "google", "--no-show-source", "-o", str(ROOT / "out" / "api")]
    return run([python, "-m", "pdoc", _LIBRARY, *modules, *written, *arguments])


def _both_halves(comfyui: Path | None, cases: str, arguments: Sequence[str]) -> dict[str, int | None]:
    """Run both halves; returns a name and an exit code for each, None if skipped.

    Args:
        comfyui: Where the nodes' tests run; they are skipped where there is none.
        cases: Which of them, "short" or "long".
        arguments: Further ones for pytest.
    """
    python = _test_environment()
    in_comfyui = python if comfyui is None else _node_environment(comfyui)
    options = [*_in_parallel(), "--cases", cases, *arguments]
    # `-m pytest` puts the repository's root on sys.path, which is where the core's tests find mcdm_core.
    codes: dict[str, int | None] = {"Core tests": run([python, "-m", "pytest", *_OF_CORE, *options], _one_thread())}
    if comfyui is None:
        return codes | {"Node tests": None}
    # -I keeps the repository's root off sys.path: its nodes/ would hide ComfyUI's own module of that name.
    environment = _one_thread() | {"COMFYUI_PATH": str(comfyui)}
    code = run([in_comfyui, "-I", "-m", "pytest", "tests/comfy", *options], environment)
    return codes | {f"Node tests in ComfyUI {comfyui_version(comfyui)} ({comfyui})": code}


def _on_accelerator(comfyui: Path | None, arguments: Sequence[str]) -> dict[str, int | None]:
    """Run the tests of the accelerator that isn't there (tests/accelerator), and on it a share of the nodes'."""
    if comfyui is None:
        return {}
    options = [*_in_parallel(), "--accelerator", "--one-of", str(_ON_ACCELERATOR), *arguments]
    python, environment = _node_environment(comfyui), _one_thread() | {"COMFYUI_PATH": str(comfyui)}
    code = run([python, "-I", "-m", "pytest", "tests/accelerator", "tests/comfy", *options], environment)
    return {"Node tests on the tests' accelerator": code}


def _report(linters: dict[str, int], halves: dict[str, int | None]) -> int:
    """Say of each part how it went, a line each; returns 1 if one failed, or no half had a test to run."""
    for linter, status in linters.items():
        say(f"{linter}: {_outcome(status)}.")
    for half, code in halves.items():
        say(f"{half}: {_OF_TESTS.get(code) or _outcome(code)}.")
    if None in halves.values():
        say(how_to_get_one())
    ran = [code for code in halves.values() if code not in _OF_TESTS]
    return int(not ran or any([*linters.values(), *ran]))


def _outcome(code: int | None) -> str:
    return "passed" if code == 0 else f"FAILED (exit code {code})"


def _one_thread() -> dict[str, str]:
    """The environment of tests: one thread in the processes that they start; their own set it (tests/conftest.py)."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def _in_parallel() -> list[str]:
    """Options of pytest: a process for each core of the machine, and every file's tests in one of them."""
    workers = str(min(os.cpu_count() or 1, MOST_WORKERS))
    return ["-n", workers, "--dist", "loadscope", "--no-loadscope-reorder", "--durations", "20"]


def _test_environment() -> Path:
    """The environment of linters and tests of core and studies, which has nothing of ComfyUI's."""
    return ensure_environment(".venv-test", ["requirements-dev.txt"])


def _node_environment(comfyui: Path) -> Path:
    """That of the nodes' tests: a layer of what ComfyUI requires over the other, so that torch isn't there twice."""
    return ensure_environment(".venv-comfyui", [], comfyui_requirements(comfyui), STAND_INS, _test_environment())
