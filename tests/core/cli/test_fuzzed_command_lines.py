"""Any command line ends well, or in one sentence with nothing written; a traceback is a bug."""

import io
import re
import shutil
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, note

from mcdm_core.cli.main import main
from mcdm_core.system import shipped
from mcdm_core.training.dual_encoder import alignment
from studies.cli import main as main_of_studies

from ...fuzz.command_lines import CONFIG, CONFIGS, GOOD, OF_STUDIES, REFUSED, command_lines, to_toml, write_given
from ...support.small_disk import contents
from .test_outcomes import code_of

ERROR = re.compile(r"^(?:python -m (?:mcdm_core|studies).*: )?error: ", re.MULTILINE)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, with what the command lines name in it, and small experts in place of those that ship."""
    write_given(tmp_path)
    (tmp_path / "shipped").mkdir()
    for name, kind in (("hair", "map"), ("skin", "map"), ("text", "text")):
        shutil.copy(tmp_path / f"{kind}.safetensors", tmp_path / "shipped" / f"{name}.safetensors")
    monkeypatch.setattr(shipped, "EXPERTS", tmp_path / "shipped")
    monkeypatch.setattr(alignment, "align", partial(alignment.align, batches=1, steps=1, size=2))
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def run(arguments, config, monkeypatch):
    """The exit code, and what was said on stderr; stdout takes UTF-8 and nothing else, as a pipe does."""
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    Path(CONFIG).write_bytes(config.encode("utf-8", "surrogatepass"))
    with monkeypatch.context() as replaced:
        replaced.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
        replaced.setattr(sys, "stderr", said)
        code = code_of(arguments, main_of_studies if arguments[0] in OF_STUDIES else main)
    said.seek(0)
    return code, said.read()


def check(arguments, code, said, before, after):
    """It ended well, or in one sentence with nothing written."""
    assert code in (0, 1, 2)
    assert not [name for name in after if name.endswith(".partial")]
    if code == 0:
        replaced = [name for name, content in before.items() if after.get(name) != content]
        assert len(replaced) <= ("--overwrite" in arguments)
        return
    drawn = {name for name in after if "data" in Path(name).parts}  # kept for the next run
    assert {name: content for name, content in after.items() if name not in drawn} == before
    begun = [match.end() for match in ERROR.finditer(said)]
    assert len(begun) == 1
    sentence = said[begun[0] :]
    assert sentence.count("\n") == 1 or "unrecognized arguments" in sentence  # which argparse repeats as they are
    assert len(sentence) > 20


def restore(folder, before, after):
    """Make of a folder's files and folders what they were."""
    for name, content in before.items():
        if after.get(name) != content:
            (folder / name).write_bytes(content)
    kept = {parent for name in before for parent in (folder / name).parents} | {
        folder / "folder",
        folder / "folder.png",
    }
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and path not in kept:
            path.rmdir()
        elif path.is_file() and str(path.relative_to(folder)) not in before:
            path.unlink()


@pytest.mark.long
def test_what_is_spoiled_is_good(here, monkeypatch):
    before = contents(here)
    good = [(arguments, CONFIGS.get(arguments[0], CONFIGS["train"])[0]) for arguments in GOOD]
    good += [([command, CONFIG], config) for command, configs in CONFIGS.items() for config in configs]
    for arguments, config in good:
        code, said = run(arguments, to_toml(config), monkeypatch)
        assert code == (2 if arguments[0] in REFUSED else 0), (arguments, said)
        restore(here, before, contents(here))


def test_command_lines(here, monkeypatch, examples, record_property):
    (here / CONFIG).write_text("", encoding="utf-8")
    given_files, codes = contents(here), Counter()

    @examples(250)
    @given(command_lines())
    def ends_well(call):
        before = given_files | {CONFIG: call.config.encode("utf-8", "surrogatepass")}
        after = before
        try:
            code, said = run(call.arguments, call.config, monkeypatch)
            after = contents(here)
            note(f"exit code {code}, said:\n{said}")
            check(call.arguments, code, said, before, after)
            codes[call.arguments[0], code] += 1
        finally:
            restore(here, given_files, contents(here))

    ends_well()
    record_property("codes", {" ".join(map(str, key)): count for key, count in codes.items()})
    assert {code for _, code in codes} >= {0, 2}
