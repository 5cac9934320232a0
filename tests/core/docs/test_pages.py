"""Pages are short, each of its form, and their links lead somewhere, also where an installation has nothing there."""

import re
from datetime import date

import pytest
import tomli

from ...support.pages import README, ROOT, anchors_of, is_left_out, links_of

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "experts/*.md", "studies/*.md", "web/docs/*.md", "workflows/inputs/*.md")
    for path in ROOT.glob(pattern)
)


def local(page):
    """Target and heading in it of each link to a file."""
    for target in links_of(page):
        if not target.startswith(("https://", "http://")):
            name, _, heading = target.partition("#")
            yield (page.parent / name).resolve() if name else page, heading


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    for target, heading in local(page):
        assert target.exists(), target
        assert not heading or heading in anchors_of(target), (target.name, heading)


def test_every_page_of_docs_is_linked_from_the_readme():
    linked = {target for target, _ in local(README)}
    assert set((ROOT / "docs").glob("*.md")) <= linked


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if not is_left_out(page)],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_what_an_installation_lacks_of_what_is_linked_is_said_once(page):
    """On the page of files."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    said = text[text.index("Repository only:") :].partition("\n## ")[0]
    for target, _ in local(page):
        if is_left_out(target):
            name = target.relative_to(ROOT).as_posix()
            assert f"`{name.partition('/')[0]}{'/' if '/' in name else ''}`" in said, target


DOCS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize(
    ("pages", "most"),
    [
        pytest.param(DOCS, 18_000, id="docs"),
        pytest.param([ROOT / "studies" / "results.md"], 9_000, id="results"),
    ],
)
def test_pages_are_short(pages, most):
    """Counted by whitespace, tables, code and addresses included, as `wc -w` does."""
    words = sum(len(page.read_text(encoding="utf-8").split()) for page in pages)
    assert 0 < words <= most, f"{words - most} words too many in {', '.join(page.name for page in pages)}: shorten them"


CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
VERSION = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def test_what_is_to_come_stands_above_the_versions():
    headings = re.findall(r"^## .*$", CHANGES, re.MULTILINE)
    assert headings[0] == "## [Unreleased]"
    assert all(VERSION.match(heading) for heading in headings[1:])


def test_the_newest_version_is_that_of_the_pack_and_comes_first():
    versions = [tuple(map(int, version.split("."))) for version, _ in VERSION.findall(CHANGES)]
    days = [date.fromisoformat(day) for _, day in VERSION.findall(CHANGES)]
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ".".join(map(str, versions[0])) == project["version"]
    assert versions == sorted({*versions}, reverse=True)
    assert days == sorted(days, reverse=True)


def test_changes_are_of_the_kinds_that_there_are_each_once_in_a_version():
    for section in CHANGES.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]


HELP = sorted((ROOT / "web" / "docs").glob("*.md"))
of_help = pytest.mark.parametrize("page", HELP, ids=lambda page: page.stem)


@of_help
def test_a_help_page_is_short(page):
    assert len(page.read_text(encoding="utf-8").split()) <= 350


@of_help
def test_formulas_are_on_other_pages(page):
    """They stand in blocks of code, or have sums, densities and predictions in the middle of a sentence."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^ {4}\S", text, re.MULTILINE)
    assert not re.search(r"[Σ∂‖∅√]|ε_|\bw_|\ba_|e\^", text)


@of_help
def test_pages_that_it_names_are_in_the_packs_folder(page):
    """Help is shown in ComfyUI's page, which serves no files of `docs/`; so a page is named by its path."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"docs/[\w-]+\.md", text):
        assert (ROOT / name).is_file(), name
        assert not is_left_out(ROOT / name), name
    assert not re.findall(r"\]\((?!https?://)", text)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_a_page_opens_with_what_it_is_for_when_it_helps_and_when_not(page):
    """In five lines, before any formula or command."""
    title, opening, *_ = page.read_text(encoding="utf-8").split("\n\n")
    lines = opening.splitlines()
    assert title.startswith("# ")
    assert len(lines) <= 5
    assert max(map(len, lines)) <= 125
    points = [line.partition("**: ")[0] for line in lines if not line.startswith("  ")]
    assert points == ["- **What it is for", "- **When it helps", "- **When not"]
