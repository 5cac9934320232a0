"""The committed results agree with one another, and the examples of the documentation can be used."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from studies.evaluation.config import load_evaluation
from studies.evaluation.run import FRECHET
from studies.evaluation.telling_apart import TELLING_APART

from ...support.tiny_runs import csv_rows

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "studies" / "results"
OF_ALL_PICTURES = (FRECHET, TELLING_APART)  # no picture has one of its own
EVALUATED = sorted(path.parent for path in RESULTS.glob("*/table.md"))


def tables_of(page):
    """Each table's lines."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)]


def test_the_tables_shown_are_those_that_the_command_wrote():
    written = [table for path in RESULTS.glob("*/*.md") for table in tables_of(path.read_text(encoding="utf-8"))]
    page = tables_of((ROOT / "studies" / "results.md").read_text(encoding="utf-8"))
    assert len(page) > 12
    assert [table for table in page if table not in written] == []


def test_every_configuration_has_results():
    configured = {path.stem for path in (ROOT / "studies" / "configs" / "evaluate").glob("*.toml")}
    evaluated = {folder.name for folder in EVALUATED}
    assert evaluated == configured


@pytest.mark.parametrize("folder", EVALUATED, ids=lambda folder: folder.name)
def test_figures_are_means_over_the_pictures(folder):
    values = defaultdict(list)
    for row in csv_rows(folder / "pictures.csv"):
        for measure, value in row.items():
            if measure not in ("setting", "picture") and value not in ("", "nan"):
                values[row["setting"], measure].append(float(value))
    figures = [row for row in csv_rows(folder / "figures.csv") if row["measure"] not in OF_ALL_PICTURES]
    assert {(row["setting"], row["measure"]): int(row["n"]) for row in figures} == {
        key: len(known) for key, known in values.items()
    }
    for row in figures:
        figure, low, high = (float(row[name]) for name in ("figure", "low", "high"))
        assert np.mean(values[row["setting"], row["measure"]]) == pytest.approx(figure, rel=1e-3, abs=1e-4)
        assert low <= figure <= high


@pytest.mark.parametrize("folder", EVALUATED, ids=lambda folder: folder.name)
def test_the_table_shows_the_figures(folder):
    figures = {(row["setting"], row["measure"]): row for row in csv_rows(folder / "figures.csv")}
    lines = [line for line in (folder / "table.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    shown = 0
    for name, count, *entries in cells[2:]:
        for measure, entry in zip(cells[0][2:], entries, strict=True):
            row = figures.get((name, measure))
            assert bool(entry) == (row is not None)
            if row is not None:
                shown += 1
                numbers = [float(number) for number in re.findall(r"-?[\d.]+", entry)]
                named = ("figure", "low", "high") if row["n"] == count else ("figure", "low", "high", "n")
                assert numbers == pytest.approx([float(row[k]) for k in named], abs=6e-4, rel=1e-4)
    assert shown > 0


def test_the_example_of_an_evaluation_can_be_loaded(tmp_path):
    text = (ROOT / "studies" / "evaluation.md").read_text(encoding="utf-8")
    example = text[text.index("    title = ") :]
    block = re.match(r"(?:(?:    .*)?\n)+", example).group()
    path = tmp_path / "example.toml"
    path.write_text("\n".join(line[4:] for line in block.splitlines()), encoding="utf-8")
    config = load_evaluation(path)
    assert [row.label for setting in config.settings for row in setting.rows()] == [
        "product, weight 1",
        "product, weight 2",
        "product, weight 4",
        "own nulls",
    ]
