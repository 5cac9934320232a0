"""Links of the pages lead somewhere, and one page says where an installation has nothing there."""

import pytest

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
