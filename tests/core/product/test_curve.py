"""Weight curves, and windows in noise levels."""

import math

import pytest
import torch

from mcdm_core import Flow, Schedule, Term
from mcdm_core.diffusion.schedule import sigma_at_progress
from mcdm_core.product.curve import factor_at, parse_curve, progress_at
from studies.gaussian import gaussian_expert, label

CURVE = ((0.2, 1.0), (0.5, 3.0), (1.0, 0.0))


@pytest.mark.parametrize(("share", "factor"), [(0, 1), (0.2, 1), (0.35, 2), (0.5, 3), (0.75, 1.5), (1, 0)])
def test_factors_are_linear_between_the_given_ones(share, factor):
    assert factor_at(CURVE, share) == pytest.approx(factor)


def test_no_curve_is_one():
    assert [factor_at((), share) for share in (0.0, 0.3, 1.0)] == [1.0] * 3


def test_curves_are_read():
    assert parse_curve(" 0.2: 1,0.5 :3, 1:0 ") == CURVE
    assert parse_curve(" ") == ()


@pytest.mark.parametrize("text", ["1", "0: 1, 0: 2", "0.5: 1, 0.2: 1", "0: nan", "2: 1", "0: 1,", "a: b", "0: 1: 2"])
def test_curves_that_cannot_be_read_are_refused(text):
    with pytest.raises(ValueError, match="Expected a weight curve") as error:
        parse_curve(text)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("curve", [((0.0,),), ((0.0, 1.0, 2.0),), ((0.0, math.inf),), ((math.nan, 1.0),)])
def test_curves_that_are_none_are_refused(curve):
    with pytest.raises(ValueError, match="weight curve for gauss"):
        Term(gaussian_expert([0.0], [1.0]), label(0), weight_curve=curve)


@pytest.mark.parametrize("curve", ["0: 1, 1: 0.5", "[[0, 1]]", [0.5, 1.0], 2.0, None, {0: 1.0}, (("0", "1"),)])
def test_curves_that_are_no_pairs_of_numbers_are_refused(curve):
    with pytest.raises(ValueError, match=r"^Expected pairs of numbers such as \(\(0, 1\), .* for gauss and got "):
        Term(gaussian_expert([0.0], [1.0]), label(0), weight_curve=curve)


@pytest.mark.parametrize("schedule", [Schedule.linear(), Schedule.cosine(), Flow()])
def test_shares_are_those_of_noise_levels(schedule):
    for share in torch.linspace(0.01, 0.99, 30).tolist():
        found = progress_at(sigma_at_progress(schedule, share), lambda s: sigma_at_progress(schedule, s))
        assert found == pytest.approx(share, abs=1e-9)
    assert progress_at(1e9, lambda s: sigma_at_progress(schedule, s)) == pytest.approx(0, abs=1e-6)
    assert progress_at(0.0, lambda s: sigma_at_progress(schedule, s)) == pytest.approx(1, abs=1e-6)


def test_windows_in_shares_and_in_noise_levels_both_hold():
    term = Term(gaussian_expert([0.0], [1.0]), label(0), end=0.5, sigma_start=3.0)
    assert term.window(lambda share: 4 * (1 - share)) == (3.0, 2.0)
    with pytest.raises(ValueError, match="in common with sigma_start and sigma_end for gauss"):
        term.window(lambda share: 10 * (1 - share))


@pytest.mark.parametrize("window", [{"sigma_start": -1.0}, {"sigma_end": math.nan}, {"sigma_start": math.inf}])
def test_noise_levels_that_are_none_are_refused(window):
    with pytest.raises(ValueError, match="noise levels of 0 or more as sigma_start and sigma_end for gauss"):
        Term(gaussian_expert([0.0], [1.0]), label(0), **window)
