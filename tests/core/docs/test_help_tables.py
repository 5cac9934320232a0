"""Help pages name a node's inputs and outputs as ComfyUI's page shows them."""

import json
import re

import pytest

from ...support.pages import ROOT

TEXTS = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
PARTS = [(node, part) for node in sorted(TEXTS) for part in ("inputs", "outputs") if TEXTS[node].get(part)]


def table_of(node: str, part: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    text = (ROOT / "web" / "docs" / f"{node}.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {part.capitalize()}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    table = re.search(r"(?:^\|.*\n?)+", section, re.MULTILINE)[0]
    names = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [name.strip() for each in names for name in re.sub(r"\(.*?\)", "", each).split(",")]


@pytest.mark.parametrize(("node", "part"), PARTS)
def test_a_table_lists_all_that_the_page_shows_and_nothing_else(node, part):
    shown = {each["name"] for each in TEXTS[node][part].values()}
    assert sorted(table_of(node, part)) == sorted(shown)
