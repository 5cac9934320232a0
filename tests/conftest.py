import signal
from collections import Counter

import pytest
import torch

# One process for each core runs them, and on networks this small threads cost more than they bring.
torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--examples", type=int, help="examples of every fuzzed test, other ones each time")
    parser.addoption(
        "--cases",
        choices=["short", "long", "all"],
        default="all",
        help="short: what `make test` runs; long: what it leaves out for `make test-all`, the cases marked as `long` "
        "and of a test marked `one_of(n)` all but every n-th",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "long: a case that takes long, which `make test` leaves to `make test-all`")
    config.addinivalue_line("markers", "one_of(n): of this test's cases `make test` runs the first and each n-th after")


@pytest.hookimpl(trylast=True)  # after those that mark cases
def pytest_collection_modifyitems(config, items):
    cases = config.getoption("--cases")
    if cases == "all":
        return
    seen: Counter[str] = Counter()
    chosen, left = [], []
    for item in items:
        (chosen if cases in _runs(item, seen) else left).append(item)
    items[:] = chosen
    config.hook.pytest_deselected(items=left)


def _runs(item: pytest.Item, seen: Counter[str]) -> tuple[str, ...]:
    """In which runs a case is, "short" or "long" or both.

    Args:
        item: The case.
        seen: How many cases of each test came before it; counts this one.
    """
    if item.get_closest_marker("long") is not None:
        return ("long",)
    if "examples" in item.fixturenames:
        return "short", "long"
    marker = item.get_closest_marker("one_of")
    if marker is None:
        return ("short",)
    test = item.nodeid.partition("[")[0]
    seen[test] += 1
    return ("short",) if (seen[test] - 1) % marker.args[0] == 0 else ("long",)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def ctrl_c():
    """Let SIGINT interrupt, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
