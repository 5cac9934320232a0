"""A distillation that was ended anyhow goes on as if it had not been, to the last bit."""

import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mcdm_core import EQ10, OWN_NULL
from mcdm_core.distil.config import LogsConfig
from mcdm_core.distil.run import distil_product

from ...support import processes
from ...support.distillation import labels, make_config, make_student, make_terms

ROOT = Path(__file__).parents[3]


def distilled(folder, steps=12, terms=None, student=None, **options):
    terms, student = terms or make_terms(), student or make_student()
    return distil_product(terms, student, labels(0, 1, 2), folder, make_config(steps), **options)


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def interrupting(terms, call):
    """Terms whose network asks for an interruption when it is called for the `call`-th time."""
    calls = iter(range(1, 1_000_000))

    def interrupt(*_):
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)

    terms[0].expert.network.register_forward_pre_hook(interrupt)
    return terms


@pytest.mark.long
def test_a_killed_run_equals_an_uninterrupted_one(tmp_path):
    """Killed while the buffer is filled, after a state was saved from which part of a filling was still to be used."""
    script = ["-m", "tests.support.distillation"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, said = processes.run([*script, str(whole), "0"], cwd=ROOT)
    assert code == 0, said
    code, said = processes.run([*script, str(killed), "100"], cwd=ROOT)
    assert code != 0, said
    assert not (killed / "tiny.safetensors").exists()
    state = torch.load(killed / "state.pt")
    assert state["step"] == 50
    assert len(state["buffer"]["order"])
    code, said = processes.run([*script, str(killed), "0"], cwd=ROOT)
    assert code == 0, said
    first, second = (load_file(folder / "tiny.safetensors") for folder in (whole, killed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for log in ("loss.csv", "held_out.csv"):
        assert (whole / log).read_text("utf-8") == (killed / log).read_text("utf-8")


@pytest.mark.parametrize("call", [2, 9, 14])
def test_an_interrupted_run_equals_an_uninterrupted_one(tmp_path, call):
    whole = distilled(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="run again with --resume"):
        distilled(tmp_path / "interrupted", terms=interrupting(make_terms(), call))
    assert 0 < torch.load(tmp_path / "interrupted" / "state.pt")["step"] < 12
    assert same(whole, distilled(tmp_path / "interrupted", resume=True))


def test_what_is_reported_does_not_change_what_is_learned(tmp_path):
    silent = make_config(12, report=LogsConfig(held_out_every=0))
    quiet = distil_product(make_terms(), make_student(), labels(0, 1, 2), tmp_path / "quiet", silent)
    assert same(quiet, distilled(tmp_path / "told"))


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        ({"terms": make_terms(reliability=0.5)}, "teacher"),
        ({"terms": make_terms(weight_curve=((0.0, 1.5),))}, "teacher"),
        ({"terms": make_terms("v")}, "teacher"),
        ({"rule": OWN_NULL}, "teacher"),
        ({"unseen": [1]}, "student"),
        ({"student": make_student("v")}, "student"),
    ],
)
def test_another_product_or_student_does_not_go_on(tmp_path, options, differing):
    distilled(tmp_path, 2, rule=EQ10)
    with pytest.raises(ValueError, match=rf"another configuration, which differs in {differing}; restore"):
        distilled(tmp_path, 2, resume=True, **options)


def test_the_same_product_goes_on_in_another_folder(tmp_path):
    """Names, files and objects are no part of it: experts that were loaded anew are the same."""
    distilled(tmp_path / "one", 4)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert same(distilled(tmp_path / "one", 4, resume=True), distilled(tmp_path / "two", 4, resume=True))
