"""`python -m benchmarks` runs, and says what it should."""

import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.server.workers import NO_RAY

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.long
def test_the_command_prints_every_comparison(tmp_path):
    amounts = ["--rounds", "2", "--steps", "1", "--threads", "1"]
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--size",
        "tiny",
        "--cpu",
        *amounts,
        "--cases",
        "overhead",
        "networks",
        "adapters",
        "window",
        "--csv",
        tmp_path / "figures.csv",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "figures.csv").open(encoding="utf-8", newline="") as file:
        figures = list(csv.DictReader(file))
    names = list(dict.fromkeys(figure["compared"] for figure in figures))
    assert len(names) == 10
    assert [line.split(" | ")[0].removeprefix("| ") for line in done.stdout.splitlines()[4:]] == names
    for figure in figures:
        assert float(figure["low"]) <= float(figure["estimate"]) <= float(figure["high"])
    (memory,) = [float(figure["estimate"]) for figure in figures if "memory" in figure["compared"]]
    assert 0.999 < memory < 1.001  # exact, however busy the machine is


@pytest.mark.long
def test_two_latent_spaces_are_measured():
    """By itself: what its VAEs take on pictures of SD1.5's size is more than all other cases together."""
    command = [sys.executable, "-m", "benchmarks", "--size", "tiny", "--cases", "spaces", "--rounds", "1", "--cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "2 experts of 2 latent spaces / their network and VAE calls | ratio | " in done.stdout
    assert "network and VAE calls of both / network calls alone | ratio | " in done.stdout
    (memory,) = re.findall(r"peak memory of both / of the larger network alone \| ratio \| ([\d.]+) \|", done.stdout)
    assert float(memory) > 1


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)
def test_workers_are_measured(tmp_path):
    amounts = ["--rounds", "1", "--steps", "1", "--passes", "1", "--csv", tmp_path / "figures.csv"]
    command = [sys.executable, "-m", "benchmarks.hosts", *amounts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "figures.csv").open(encoding="utf-8", newline="") as file:
        figures = [figure for figure in csv.DictReader(file) if figure["clock"] == "wall"]
    units = [figure["unit"] for figure in figures]
    assert units == ["ms a step"] * 3 + ["ms"] + ["ratio"] * 2
    assert all(float(figure["estimate"]) > 0 for figure in figures[3:])


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)
def test_what_a_death_costs_is_measured(tmp_path):
    command = [sys.executable, "-m", "benchmarks.deaths", "--steps", "2", "--csv", tmp_path / "figures.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "figures.csv").open(encoding="utf-8", newline="") as file:
        *figures, same = csv.DictReader(file)
    for clock in ("wall", "processor"):
        *killed, both = (figure for figure in figures if figure["clock"] == clock)
        lost = sorted(float(figure["estimate"]) for figure in killed)
        assert len(lost) == 2
        assert [float(both[end]) for end in ("low", "high")] == pytest.approx(lost)
    assert float(same["estimate"]) == 2


@pytest.mark.long
def test_with_dynamic_vram(dynamic_vram):
    command = [sys.executable, "-m", "benchmarks", "--size", "tiny", "--cases", "adapters", "--rounds", "1"]
    command += ["--steps", "1", "--threads", "1", "--dynamic-vram"]
    done = subprocess.run([*command, "0.5"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "LoRA-clone pair: extra memory / its LoRA | ratio | 1.000" in done.stdout
    done = subprocess.run([*command, "nan"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 2
    assert "expected a share of a network, from 0 to 1, and got nan" in done.stderr


@pytest.mark.long
def test_methods_are_measured_on_the_experts_that_ship(tmp_path):
    amounts = ["--rounds", "1", "--steps", "3", "--threads", "1", "--csv", tmp_path / "costs.csv"]
    command = [sys.executable, "-m", "benchmarks.methods", "--cpu", *amounts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "costs.csv").open(encoding="utf-8", newline="") as file:
        costs = list(csv.DictReader(file))
    assert all(float(cost["time_ratio"]) > 0 for cost in costs)
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
