"""Links of the pages lead somewhere, and say so where an installation has nothing there."""

import pytest

from ...support.pages import README, ROOT, anchors_of, is_left_out, links_of

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "experts/*.md", "studies/*.md", "web/docs/*.md", "workflows/inputs/*.md")
    for path in ROOT.glob(pattern)
)


def local(page):
    """Target, heading in it and paragraph of each link to a file."""
    for target, paragraph in links_of(page):
        if not target.startswith(("https://", "http://")):
            name, _, heading = target.partition("#")
            yield (page.parent / name).resolve() if name else page, heading, paragraph


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    for target, heading, _ in local(page):
        assert target.exists(), target
        assert not heading or heading in anchors_of(target), (target.name, heading)


def test_every_page_of_docs_is_linked_from_the_readme():
    linked = {target for target, _, _ in local(README)}
    assert set((ROOT / "docs").glob("*.md")) <= linked


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if not is_left_out(page)],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_links_to_what_an_installation_lacks_say_so(page):
    for target, _, paragraph in local(page):
        said = "repository only" in " ".join(paragraph.split()) or "in the repository" in " ".join(paragraph.split())
        assert not is_left_out(target) or said, target
