"""`python -m benchmarks` runs, and says what it should."""

import importlib.util
import re

import pytest

from ..support.benchmarks import figures_of, ran
from ..support.server.workers import NO_RAY


@pytest.mark.long
def test_the_command_prints_every_comparison(tmp_path):
    cases = ["--cases", "overhead", "networks", "adapters", "window", "--steps", "1", "--threads", "1"]
    lines, figures = figures_of(tmp_path, "benchmarks", "--size", "tiny", "--cpu", "--rounds", "2", *cases)
    names = list(dict.fromkeys(figure["compared"] for figure in figures))
    assert len(names) == 10
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[4:]] == names
    for figure in figures:
        assert float(figure["low"]) <= float(figure["estimate"]) <= float(figure["high"])
    (memory,) = [float(figure["estimate"]) for figure in figures if "memory" in figure["compared"]]
    assert 0.999 < memory < 1.001  # exact, however busy the machine is


@pytest.mark.long
def test_two_latent_spaces_are_measured():
    """By itself: what its VAEs take on pictures of SD1.5's size is more than all other cases together."""
    said = ran("benchmarks", "--size", "tiny", "--cases", "spaces", "--rounds", "1", "--cpu").stdout
    assert "2 experts of 2 latent spaces / their network and VAE calls | ratio | " in said
    assert "network and VAE calls of both / network calls alone | ratio | " in said
    (memory,) = re.findall(r"peak memory of both / of the larger network alone \| ratio \| ([\d.]+) \|", said)
    assert float(memory) > 1


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)
def test_workers_are_measured(tmp_path):
    _, both = figures_of(tmp_path, "benchmarks.hosts", "--rounds", "1", "--steps", "1", "--passes", "1")
    figures = [figure for figure in both if figure["clock"] == "wall"]
    assert [figure["unit"] for figure in figures] == ["ms a step"] * 3 + ["ms"] + ["ratio"] * 2
    assert [figure["compared"] for figure in figures[3:]] == [
        "a pass, on one thread",
        "2 experts on 2 workers / in one process",
        "2 experts, one on a worker / in one process",
    ]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)
def test_what_a_death_costs_is_measured(tmp_path):
    _, (*figures, same) = figures_of(tmp_path, "benchmarks.deaths", "--steps", "2")
    for clock in ("wall", "processor"):
        *killed, both = (figure for figure in figures if figure["clock"] == clock)
        lost = sorted(float(figure["estimate"]) for figure in killed)
        assert len(lost) == 2
        assert [float(both[end]) for end in ("low", "high")] == pytest.approx(lost)
    assert float(same["estimate"]) == 2


@pytest.mark.long
def test_with_dynamic_vram(dynamic_vram):
    command = ["benchmarks", "--size", "tiny", "--cases", "adapters", "--rounds", "1", "--steps", "1", "--threads", "1"]
    done = ran(*command, "--dynamic-vram", "0.5")
    assert "LoRA-clone pair: extra memory / its LoRA | ratio | 1.000" in done.stdout
    refused = ran(*command, "--dynamic-vram", "nan", code=2)
    assert "expected a share of a network, from 0 to 1, and got nan" in refused.stderr


@pytest.mark.long
def test_methods_are_measured_on_the_experts_that_ship(tmp_path):
    amounts = ["--rounds", "1", "--steps", "3", "--threads", "1"]
    _, costs = figures_of(tmp_path, "benchmarks.methods", "--cpu", *amounts)
    rows = {cost["method"]: float(cost["rows"]) for cost in costs}
    plain = 3 * 6  # steps, three conditions and three nulls
    expected = {
        "plain product": plain,
        "guidance interval .1 to .9": plain - 2 * 3,  # the first step and the last ask no null
        "turns of 2 steps": 3 * 2,
        "Logic Sampler, or": plain,
        "Choose Samples": plain,
        "plain product, W = 1": plain / 2,
    }
    assert expected.items() <= rows.items()
    assert len(rows) == 8
