"""Help pages: short, without formulas, naming pages that an installation has; and how those pages open."""

import re
from pathlib import Path

import pathspec
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "web" / "docs").glob("*.md"))
NAMES = [page.stem for page in PAGES]
MOST_WORDS = 350


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_help_page_is_short(page):
    assert len(page.read_text(encoding="utf-8").split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_formulas_are_on_other_pages(page):
    """They stand in blocks of code, or have sums, densities and predictions in the middle of a sentence."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^ {4}\S", text, re.MULTILINE)
    assert not re.search(r"[Σ∂‖∅√]|ε_|\bw_|\ba_|e\^", text)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_pages_that_it_names_are_in_the_packs_folder(page):
    """Help is shown in ComfyUI's page, which serves no files of `docs/`; so a page is named by its path."""
    text = page.read_text(encoding="utf-8")
    left_out = pathspec.GitIgnoreSpec.from_lines((ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines())
    for name in re.findall(r"docs/[\w-]+\.md", text):
        assert (ROOT / name).is_file(), name
        assert not left_out.match_file(name), name
    assert not re.findall(r"\]\((?!https?://)", text)


LONG = ["benchmarks", "fewer-passes", "logic"]


@pytest.mark.parametrize("name", LONG)
def test_a_long_page_opens_with_what_it_is_for_when_it_helps_and_when_not(name):
    """In five lines, before any formula or command."""
    title, opening, *_ = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8").split("\n\n")
    lines = opening.splitlines()
    assert title.startswith("# ")
    assert len(lines) <= 5
    points = [line for line in lines if line.startswith("- ")]
    assert [re.match(r"- \*\*(What|When \w+ helps?|When not)\b", line) is not None for line in points] == [True] * 3
