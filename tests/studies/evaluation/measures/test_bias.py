"""The bias of products of Gaussians: closed forms beside samples, and what the command writes."""

import csv
import io
import os

import pytest
import torch
from PIL import Image

from studies.cli import main as command_line
from studies.evaluation.bias import (
    METHODS,
    STUDIES,
    TARGET,
    Estimate,
    GaussianPair,
    Row,
    main,
    measure,
)
from studies.gaussian import ode_moments, product_moments, sde_moments

CASES = STUDIES[0].pairs
WORKED = next(pair for name, pair in CASES.items() if name.startswith("worked case"))
EXACT = [pair for pair in CASES.values() if pair is not WORKED]


def test_the_worked_case():
    factors = WORKED.factors()
    assert product_moments(*factors) == pytest.approx((-0.3816, 0.2449), abs=5e-5)
    assert ode_moments(*factors) == pytest.approx((-0.0624, 0.1200), abs=5e-5)
    assert sde_moments(*factors) == pytest.approx((-0.1816, 0.1976), abs=5e-5)


COUNT = 4000


@pytest.fixture(scope="module")
def row() -> Row:
    return measure(WORKED, COUNT, 200, torch.Generator().manual_seed(0))


@pytest.mark.long
def test_samples_reach_the_closed_forms_of_their_samplers_and_not_the_target(row):
    for limit, sampled in (METHODS[:2], METHODS[2:]):
        exact, estimate = row[limit], row[sampled]
        assert estimate.count == COUNT
        # Four standard errors, and 1 or 2 % of the standard deviation for the finite number of steps.
        assert abs(estimate.mean.value - exact.mean.value) < (4 / COUNT**0.5 + 0.01) * exact.std.value
        assert abs(estimate.std.value / exact.std.value - 1) < 4 / (2 * COUNT) ** 0.5 + 0.02
        assert abs(estimate.error("mean", row[TARGET])) > 0.3
        assert estimate.error("std", row[TARGET]) < -0.05


@pytest.mark.parametrize("pair", [*EXACT, STUDIES[2].pairs["1"], STUDIES[3].pairs["1"]])
def test_cases_in_which_nothing_is_biased(pair):
    target = product_moments(*pair.factors())
    assert ode_moments(*pair.factors()) == pytest.approx(target, abs=1e-6)
    assert sde_moments(*pair.factors()) == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize("study", STUDIES[1:], ids=lambda study: study.variable)
def test_errors_grow_along_each_sweep_and_the_ode_errs_more(study):
    def error(moments, target) -> float:
        return abs(Estimate.exact(moments).error(study.plotted, Estimate.exact(target)))

    factors = [pair.factors() for pair in study.pairs.values()]
    ode, sde = ([error(limit(*f), product_moments(*f)) for f in factors] for limit in (ode_moments, sde_moments))
    assert ode == sorted(ode)
    assert ode[0] == pytest.approx(0, abs=1e-6)
    assert all(a > b for a, b in zip(ode[1:], sde[1:], strict=True))


def test_intervals_hold_the_moments():
    estimate = Estimate.of(torch.randn(2000, generator=torch.Generator().manual_seed(1)).numpy())
    assert estimate.mean.low < 0 < estimate.mean.high
    assert estimate.std.low < 1 < estimate.std.high
    # ± 1.96 standard errors: 1/√n of the mean, 1/√(2n) of the standard deviation.
    assert estimate.mean.high - estimate.mean.low == pytest.approx(2 * 1.96 / 2000**0.5, rel=0.15)
    assert estimate.std.high - estimate.std.low == pytest.approx(2 * 1.96 / 4000**0.5, rel=0.15)


def test_products_without_a_density_are_refused():
    pair = GaussianPair((0, 0), (2, 2), weights=(1, 1.5))
    with pytest.raises(ValueError, match=r"has a density.* = -0\.25; make the null's variance larger"):
        product_moments(*pair.factors())


def write(folder) -> dict[str, bytes]:
    """A small study; name → content of its files."""
    assert main(["--samples", "100", "--steps", "10", "--out", str(folder)]) == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, bytes]:
    return write(tmp_path_factory.mktemp("bias") / "first")


@pytest.mark.long
def test_the_same_seed_writes_the_same_files(written, tmp_path):
    assert write(tmp_path / "second") == written


def test_files_that_are_written(written):
    assert set(written) == {"product_bias.csv", "product_bias.md", "product_bias.png"}
    rows = list(csv.DictReader(io.StringIO(written["product_bias.csv"].decode(), newline="")))
    assert len(rows) == sum(len(study.pairs) for study in STUDIES) * (1 + len(METHODS))
    worked = {row["method"]: row for row in rows if row["value"].startswith("worked case")}
    assert worked[TARGET]["samples"] == ""
    assert worked[METHODS[1]]["samples"] == "100"
    assert float(worked[METHODS[0]]["mean"]) == pytest.approx(-0.0624, abs=5e-5)
    assert float(worked[METHODS[0]]["mean_error"]) == pytest.approx((-0.0624 + 0.3816) / 0.2449**0.5, abs=2e-4)
    assert float(worked[METHODS[0]]["std_error"]) == pytest.approx((0.1200 / 0.2449) ** 0.5 - 1, abs=3e-4)

    table = written["product_bias.md"].decode()
    assert "evaluate product-bias --samples 100 --steps 10 --seed 0" in table
    assert "| −0.382 | −0.062; +65 % |" in table
    with Image.open(io.BytesIO(written["product_bias.png"])) as picture:
        assert picture.size == (960, 3 * 324)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "5"], "Expected --samples of 100 or more and got 5; ask for more."),
        (["--steps", "0"], "Expected --steps of 10 or more and got 0; ask for more."),
        (["--out", os.devnull], "Expected the name of a folder to write to and"),
        (["--samples", "100", "--steps", "2000"], "Expected at most 1000 timesteps in a section of 1000 and got 2000"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(options, message, tmp_path, capsys):
    assert command_line(["evaluate", "product-bias", "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
