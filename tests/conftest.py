import contextlib
import importlib.util
import math
import os
import signal
from collections.abc import Sequence
from zlib import crc32

import pytest
import torch

from . import accelerator as stand_in

# One process for each core runs them, and on networks this small threads cost more than they bring.
torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--examples", type=int, help="examples of every fuzzed test, other ones each time")
    parser.addoption(
        "--cases",
        choices=["short", "long", "all"],
        default="all",
        help="short: what `make test` runs; long: what it leaves out for `make test-all`, the cases marked as `long` "
        "and of a test marked `one_of(n)` all but an n-th",
    )
    parser.addoption("--one-of", type=int, metavar="N", help="run an n-th of the cases, of every kind")
    parser.addoption(
        "--accelerator",
        action="store_true",
        help="run node tests on an accelerator that isn't there: tests/accelerator",
    )


def pytest_configure(config):
    if config.getoption("--accelerator"):  # the first process builds it, before others ask for it
        with contextlib.suppress(stand_in.NotBuiltError):  # which tests say, as they ask too
            stand_in.install()
    config.addinivalue_line("markers", "long: a case that takes long, which `make test` leaves to `make test-all`")
    config.addinivalue_line("markers", "one_of(n): of this test's cases `make test` runs an n-th, of every kind")


@pytest.hookimpl(trylast=True)  # after those that mark cases
def pytest_collection_modifyitems(config, items):
    cases, chosen = config.getoption("--cases"), set(items)
    if cases != "all":
        short = _short_cases(items)
        chosen = {item for item in items if cases in _runs_of(item, short)}
    special = {item for item in items if "accelerator" in item.fixturenames}
    if not config.getoption("--accelerator"):
        chosen -= special
    if n := config.getoption("--one-of"):
        usual = [item for item in items if item not in special]
        chosen -= set(usual) - _an_nth(usual, n)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def _runs_of(item: pytest.Item, short: set[pytest.Item]) -> tuple[str, ...]:
    if item.get_closest_marker("long") is not None:
        return ("long",)
    if "examples" in item.fixturenames:
        return "short", "long"
    return ("short",) if item.get_closest_marker("one_of") is None or item in short else ("long",)


def _short_cases(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    """Those cases of tests marked `one_of` that are short."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("one_of") is not None:
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return {
        item
        for test, cases in tests.items()
        for item in spread(test, cases, *cases[0].get_closest_marker("one_of").args)
    }


def _an_nth(items: Sequence[pytest.Item], n: int) -> set[pytest.Item]:
    """An n-th of the cases of each test, and of the tests without cases of each file."""
    kinds: dict[str, list[pytest.Item]] = {}
    for item in items:
        kinds.setdefault(item.nodeid.partition("[" if hasattr(item, "callspec") else "::")[0], []).append(item)
    return {item for kind, cases in kinds.items() for item in spread(kind, cases, n)}


def spread(test: str, cases: Sequence[pytest.Item], n: int) -> list[pytest.Item]:
    """An n-th of a test's cases, in which parameters take as many of their values as they can.

    Where all values can't occur, other tests on the same values begin elsewhere among them.
    """
    first = crc32(test.encode()) % n
    left = sorted(range(len(cases)), key=lambda place: ((place - first) % n, place))
    values = [set(case.callspec.indices.items()) if hasattr(case, "callspec") else {case} for case in cases]
    chosen: list[int] = []
    while len(chosen) < math.ceil(len(cases) / n):
        met = {value for place in chosen for value in values[place]}
        best = max(left, key=lambda place: len(values[place] - met))  # of several the first
        left.remove(best)
        chosen.append(best)
    return [cases[place] for place in chosen]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def accelerator():
    """The accelerator that isn't there. What asks for it runs with `--accelerator` alone, and then all of it."""
    try:
        stand_in.install()
    except stand_in.NotBuiltError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    return stand_in


@pytest.fixture
def ctrl_c():
    """Let SIGINT interrupt, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def without_ray(monkeypatch):
    """As where Ray isn't installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else find(name, *more))


@pytest.fixture
def examples(pytestconfig):
    """Settings of hypothesis for so many examples, its version's own ones unless `--examples` asks for others.

    `make test` and `make test-all` both run such a test, the first with a quarter of the examples.
    """
    from hypothesis import HealthCheck, settings

    asked = pytestconfig.getoption("--examples", default=None)
    divisor = 4 if pytestconfig.getoption("--cases") == "short" else 1
    return lambda count: settings(
        max_examples=asked or count // divisor,
        derandomize=not asked,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
