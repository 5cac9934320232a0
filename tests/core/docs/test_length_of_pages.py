"""How long the pages are together, so that what is added takes the place of something."""

import pytest

from ...support.pages import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
DISTIL = ROOT / "docs" / "distil.md"
RESULTS = ROOT / "studies" / "results.md"


@pytest.mark.parametrize(
    ("pages", "most"),
    [
        pytest.param([page for page in PAGES if page != DISTIL], 18_000, id="docs"),
        pytest.param([DISTIL], 1_300, id="distil"),
        pytest.param([RESULTS], 9_000, id="results"),
    ],
)
def test_pages_are_short(pages, most):
    """Counted by whitespace, tables, code and addresses included, as `wc -w` does."""
    assert 0 < sum(len(page.read_text(encoding="utf-8").split()) for page in pages) <= most
