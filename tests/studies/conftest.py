import pytest

from studies.registration import register


@pytest.fixture(autouse=True, scope="session")
def _registered() -> None:
    """Drawn kinds of data are known, as they are to `python -m mcdm_core`."""
    register()
