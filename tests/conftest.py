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
        is_chosen = _is_long(item, seen) == (cases == "long")
        (chosen if is_chosen else left).append(item)
    items[:] = chosen
    config.hook.pytest_deselected(items=left)


def _is_long(item: pytest.Item, seen: Counter[str]) -> bool:
    """Whether `make test` leaves a case out.

    Args:
        item: The case.
        seen: How many cases of each test came before it; counts this one.
    """
    if item.get_closest_marker("long") is not None:
        return True
    marker = item.get_closest_marker("one_of")
    if marker is None:
        return False
    test = item.nodeid.partition("[")[0]
    seen[test] += 1
    return (seen[test] - 1) % marker.args[0] != 0


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
    """Settings of hypothesis for so many examples, its version's own ones unless `--examples` asks for others."""
    from hypothesis import HealthCheck, settings

    asked = pytestconfig.getoption("--examples", default=None)
    return lambda count: settings(
        max_examples=asked or count,
        derandomize=not asked,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
