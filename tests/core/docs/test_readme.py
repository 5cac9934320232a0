"""README: what it holds, in which order, how long it is, and that its commands and its Python work."""

import re
import subprocess
import sys

import pytest
import tomli
from PIL import Image

from tools import commands

from ...support.pages import README, ROOT, pictures_of, python_of, text_of, words_of

SECTIONS = [
    "Which node do I need?",
    "Install",
    "First picture",
    "Recipes",
    "Weight, reliability, window, mask",
    "Compared with",
    "When it looks wrong",
    "The paper",
    "Python",
    "More",
]
PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = README.read_text(encoding="utf-8")


def test_sections_come_in_the_order_in_which_readers_ask():
    assert re.findall(r"^## (.*)$", TEXT, re.MULTILINE) == SECTIONS


def test_it_is_short():
    assert len(words_of(README)) >= 1100
    assert len(TEXT.split()) <= 1500


def test_it_has_pictures_that_can_be_opened():
    pictures = pictures_of(README)
    assert len(set(pictures)) == len(pictures) >= 10
    for picture in pictures:
        with Image.open(ROOT / picture) as image:
            image.verify()


@pytest.mark.parametrize("command", ["demo", "test"])
def test_both_commands_stand_where_the_pack_is_installed_and_exist_with_and_without_make(command):
    (line,) = [number for number, line in enumerate(TEXT.splitlines()) if line.startswith(f"    make {command} ")]
    assert "## Install" in TEXT.splitlines()[line - 20 : line]
    assert f"# or: python -m tools {command} " in TEXT.splitlines()[line]
    assert f"\n{command}:\n\t$(PYTHON) -m tools {command} $(ARGS)\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert callable(getattr(commands, command))


def test_versions_are_those_of_the_package():
    assert f"For ComfyUI {PROJECT['tool']['comfy']['requires-comfyui'].removeprefix('>=')} or newer" in TEXT
    assert f"(Python {PROJECT['project']['requires-python'].removeprefix('>=')} or newer)" in TEXT


def test_the_status_is_one_line_at_the_top():
    (line,) = re.findall(r"^\*\*Status:\*\* .*$", TEXT, re.MULTILINE)
    assert TEXT.index(line) < TEXT.index("\n## ")
    assert re.search("not yet on GPUs", line)


def test_its_python_stands_alone():
    """With fewer steps; the block is about ten lines."""
    (block,) = python_of(README)
    assert len([line for line in block.splitlines() if line.strip()]) <= 12
    shorter = block.replace(", 20, ", ", 2, ")
    assert shorter != block
    says = "\nprint(*pictures.shape, bool(pictures.isfinite().all()), float(pictures.abs().max()) <= 1)"
    said = subprocess.run([sys.executable, "-c", shorter + says], cwd=ROOT, check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["1", "3", "64", "64", "True", "True"]


def test_every_kind_of_table_has_a_head_and_rows_as_wide():
    for table in re.findall(r"(?:^\|.*\n)+", text_of(README), re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
