"""The languages of the nodes: English as the schemas have it, all others complete."""

import json
import re
from pathlib import Path

import pytest

from ..support.node_texts import node_texts

FOLDER = Path(__file__).resolve().parents[3] / "locales"
LANGUAGES = sorted(path.name for path in FOLDER.iterdir())


def read(language: str, name: str = "nodeDefs.json") -> dict:
    return json.loads((FOLDER / language / name).read_text(encoding="utf-8"))


def leaves(tree: dict, path: tuple = ()) -> dict[tuple, str]:
    found = {}
    for key, value in tree.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


def test_english_is_what_the_schemas_say(node, request):
    texts = node_texts(node.classes)
    if request.config.getoption("--write-locales"):
        text = json.dumps(texts, indent=2, ensure_ascii=False) + "\n"
        (FOLDER / "en" / "nodeDefs.json").write_text(text, encoding="utf-8")
    assert read("en") == texts, "run this test with --write-locales, and mend the other languages"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_complete(language):
    texts, english = leaves(read(language)), leaves(read("en"))
    assert texts.keys() == english.keys(), f"locales/{language} should have the texts of locales/en, no others"
    assert all(texts.values())


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_a_language_is_another_one_and_has_the_same_symbols(language):
    texts, english = leaves(read(language)), leaves(read("en"))
    sentences = [key for key in texts if key[-1] in ("tooltip", "description")]
    assert not [key for key in sentences if texts[key] == english[key]]
    for key in sentences:
        symbols = [sorted(set(re.findall(r"[εσηᾱ∅Σ√]", text[key]))) for text in (texts, english)]
        assert symbols[0] == symbols[1], key
        numbers = [sorted(re.findall(r"\d+", re.sub(r"(?<=\d)[.,](?=\d)", "", t[key]))) for t in (texts, english)]
        assert numbers[0] == numbers[1], key


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_means_something_to_the_page(language):
    """Braces, @ and | are the syntax of its messages."""
    assert not [text for text in leaves(read(language)).values() if re.search(r"[{}@|]", text)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_templates_have_a_heading_where_the_registry_installs_them(language):
    """The page looks it up by the pack's folder, which the registry names after the project."""
    project = re.search(r'^name = "(.+)"', (FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    headings = read(language, "main.json")["templateWorkflows"]["category"]
    assert headings.keys() == {project.group(1)}
    assert all(headings.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_inputs_and_outputs_keep_the_names_that_messages_and_help_pages_give_them(language):
    texts, english = leaves(read(language)), leaves(read("en"))
    assert not [key for key in texts if key[-1] == "name" and texts[key] != english[key]]
