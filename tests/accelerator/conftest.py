import pytest

from .fixtures import installed_or_skipped


@pytest.fixture(scope="session", autouse=True)
def _accelerator(pytestconfig):
    if not pytestconfig.getoption("--accelerator"):
        pytest.skip("they run with --accelerator")
    installed_or_skipped()
