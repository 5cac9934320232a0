"""What tables say of figures that not all pictures of a row have, and of batches that are skipped as a whole."""

import numpy as np
import pytest

from studies.evaluation.comparison import difference, differences_table
from studies.evaluation.config import DataConfig, EvaluationConfig, Setting
from studies.evaluation.kinds import open_held_out
from studies.evaluation.report import Report
from studies.evaluation.row import Row, figure_of
from studies.evaluation.rows import PER_PICTURE, units
from studies.metrics import bootstrap_interval

from ...support.tiny_runs import csv_rows

DATA = DataConfig("faces", seed=25_500_000, count=3)
PLAIN, OTHER = Setting("plain", ()), Setting("other", ())


def row_of(setting, **measures):
    values = {name.replace("_", " "): np.array(each, dtype=float) for name, each in measures.items()}
    count = len(next(iter(values.values())))
    figures = {name: figure_of(each, units(name, count, setting)) for name, each in values.items()}
    return Row(setting.label, setting, np.zeros((count, 64, 64, 3), np.uint8), values, figures)


def test_a_figure_of_fewer_pictures_says_of_how_many(tmp_path):
    plain = row_of(PLAIN, mIoU=[0, 1, 1], ring=[0.5, np.nan, 0.5])
    other = row_of(OTHER, mIoU=[1, 1, 1], ring=[np.nan, 0.5, 1.0])
    config = EvaluationConfig("A test", DATA, {}, (PLAIN, OTHER), shown=0, against="plain")
    Report(config, open_held_out(DATA), [plain, other]).write(tmp_path)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| plain | 3 | 0.667 [0.000, 1.000] | 0.500 [0.500, 0.500] (n = 2) |" in table
    assert "| other | 3 | 1.000 [1.000, 1.000] | 0.750 [0.500, 1.000] (n = 2) |" in table
    assert "| other | 3 | +0.3333 [+0.0000, +1.0000] | +0.5000 [+0.5000, +0.5000] (n = 1) |" in differences_table(
        "A test", [plain, other], "plain", ["mIoU", "ring"]
    )
    assert [row["n"] for row in csv_rows(tmp_path / "figures.csv")] == ["3", "2", "3", "2"]


def test_rows_are_drawn_by_batches():
    setting, rows = Setting("by 4", (), together=4), [100.0, 90.0, 90.0, 80.0, 70.0] * 2
    row = row_of(setting, **{PER_PICTURE.replace(" ", "_"): np.repeat(rows, 4), "mIoU": np.repeat(rows, 4)})
    of_batches = bootstrap_interval(np.array(rows))
    assert (row.figures[PER_PICTURE].low, row.figures[PER_PICTURE].high) == pytest.approx(of_batches)
    assert row.figures["mIoU"].low > of_batches[0] + 1
    assert row.figures[PER_PICTURE].count == 40
    base = row_of(Setting("by 20", ()), **{PER_PICTURE.replace(" ", "_"): np.full(40, 100.0)})
    less = difference(row, base, PER_PICTURE)
    assert (less.value, less.low, less.high) == (-14, -14, -14)  # of two batches of 20, both with a mean of 86


@pytest.mark.parametrize(
    ("together", "first"),
    [
        ((4,), [0, 4, 8, 12, 16, 20, 24]),
        ((0,), [0, 20]),
        ((8,), [0, 8, 16, 20]),  # batches don't reach beyond a file of 20
        ((4, 6), [0, 12, 20]),
        ((3, 4), [0, 12, 20]),
    ],
)
def test_batches_of_two_settings_have_units_that_cut_none_in_two(together, first):
    found = units(PER_PICTURE, 25, *(Setting("", (), together=each) for each in together))
    assert np.flatnonzero(np.diff(found, prepend=0)).tolist() == first
    assert units("mIoU", 3, PLAIN).tolist() == [0, 1, 2]
