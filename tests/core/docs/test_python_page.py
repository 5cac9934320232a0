"""The page of the command line and the library: what it shows runs."""

import doctest
import shutil

import pytest

import mcdm_core
from mcdm_core.cli.main import COMMANDS, main
from mcdm_core.system.shipped import expert_names

from ...support.pages import PYTHON_PAGE, ROOT, commands_of

TEXT = PYTHON_PAGE.read_text(encoding="utf-8")
YOUR_OWN = {"upsample.pt", "my_adm.pt"}  # files that the page says are the reader's
FEWER = {
    "demo": ["--steps", "2"],
    "sample": ["--steps", "2"],
    "sweep": ["--steps", "2", "--seeds", "1", "--values", "0.5"],
}
COMMAND_LINES = [
    pytest.param(words, id=" ".join(words), marks=[pytest.mark.long] * (words[0] == "demo"))
    for words in commands_of(PYTHON_PAGE)
]


def test_the_page_has_a_line_for_every_command():
    said = " ".join(TEXT.split())
    assert [command for command in COMMANDS if f"python -m mcdm_core {command}" not in said] == []


@pytest.mark.parametrize("words", COMMAND_LINES)
def test_a_command_of_the_page_runs(words, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "workflows" / "inputs", tmp_path / "workflows" / "inputs")
    monkeypatch.chdir(tmp_path)
    if words == ["--help"]:
        with pytest.raises(SystemExit, match="0"):
            main(words)
    elif YOUR_OWN & {*words}:
        for name in YOUR_OWN:
            (tmp_path / name).write_bytes(b"No file of an expert.")
        (tmp_path / "out").mkdir()
        assert main(words) == 2  # at the file: all options were read
    else:
        assert main([*words, *FEWER.get(words[0], [])]) == 0


def test_the_table_has_every_expert_that_ships():
    rows = [line for line in TEXT.splitlines() if line.startswith("| `") and "encode_" in line]
    assert sorted(name for row in rows for name in row.split("|")[1].replace("`", "").replace(",", "").split()) == (
        expert_names()
    )


def test_what_it_imports_is_offered():
    examples = doctest.DocTestParser().get_examples(TEXT)
    lines = [example.source for example in examples if example.source.startswith("from mcdm_core import ")]
    names = {name.strip() for line in lines for name in line.partition(" import ")[2].split(",")}
    assert lines
    assert names <= {*mcdm_core.__all__}
