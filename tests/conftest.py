import signal

import pytest
import torch

# One process for each core runs them, and on networks this small threads cost more than they bring.
torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--examples", type=int, help="examples of every fuzzed test, other ones each time")


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
