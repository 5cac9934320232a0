"""What a term says beside its condition: windows, weight curves and masks."""

import math
from itertools import chain

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mcdm_core import Flow, ProductDenoiser, Schedule, Term
from mcdm_core.diffusion.schedule import levels_of, sigma_at_progress
from mcdm_core.product.methods.passes import Passes
from mcdm_core.product.plans.combination import Combination, Moment, plan_product
from mcdm_core.product.plans.planner import Planner, active_at, breakpoints
from mcdm_core.product.rules.eq10 import EQ10
from mcdm_core.product.rules.own_null import OWN_NULL
from mcdm_core.product.terms.curve import factor_at, parse_curve, progress_at
from mcdm_core.product.terms.term_numbers import TermNumbers
from mcdm_core.sampling import sigmas_for
from studies.gaussian import gaussian_expert, label

CURVE = ((0.2, 1.0), (0.5, 3.0), (1.0, 0.0))


@pytest.mark.parametrize(("share", "factor"), [(0, 1), (0.2, 1), (0.35, 2), (0.5, 3), (0.75, 1.5), (1, 0)])
def test_factors_are_linear_between_the_given_ones(share, factor):
    assert factor_at(CURVE, share) == pytest.approx(factor)


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


EXPERT = gaussian_expert([0.0], [1.0])


def test_windows_are_shares_of_the_reference_experts_timesteps():
    schedule = Schedule.linear()

    def window(schedule, **shares):
        return Term(EXPERT, label(0), **shares).window(lambda share: sigma_at_progress(schedule, share))

    assert window(schedule) == (math.inf, -math.inf)
    start, end = window(schedule, start=0.25, end=0.75)
    assert start == pytest.approx(schedule.sigma(0.75 * 999).item())
    assert end == pytest.approx(schedule.sigma(0.25 * 999).item())
    assert window(Flow(), start=0.25)[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("levels", "sets"),
    [
        ([10.0, 0.0], [(0,), (0, 1), (1,), (1, 2), (2,)]),
        ([0.0, 4.0], [(1,), (1, 2), (2,)]),  # where noise is added
        ([10.0, 4.0], [(0,), (0, 1), (1,)]),
    ],
)
def test_every_set_of_active_terms_is_found(levels, sets):
    windows = [(math.inf, 5.0), (8.0, 2.0), (3.0, -math.inf)]
    found = (active_at(windows, level) for level in breakpoints(chain(*windows), levels))
    assert list(dict.fromkeys(found)) == sets


class NoFloat64(TorchDispatchMode):
    """A device without float64, as Apple's are."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        assert not isinstance(result, torch.Tensor) or result.dtype != torch.float64, function
        return result


def test_noise_levels_may_lie_on_a_device_without_float64():
    sigmas = torch.tensor([10.0, 4.0, 0.0])
    with NoFloat64():
        assert levels_of(sigmas) == [10.0, 4.0, 0.0]


def test_gaps_are_refused_where_the_run_meets_them():
    terms = [TermNumbers(sigma_end=5.0), TermNumbers(sigma_start=1.0)]
    planner = Planner(Combination(terms=terms, rule=EQ10), plan_product, lambda progress: 1 - progress)
    with pytest.raises(ValueError, match=r"none at σ = 5; widen .* sigma_start and sigma_end"):
        planner.check_run([10.0, 0.0])
    planner.check_run([10.0, 5.1])
    planner.check_run([0.5, 0.0])


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"start": 0.52, "end": 0.56}, True),
        ({"start": 0.52, "end": 0.56, "weight": 0.0}, False),  # it lends its null at most
        ({"start": 0.52, "end": 0.9}, False),
        ({"start": 0.99}, False),
        ({"sigma_start": 0.0005}, True),  # below the last step's level, where no network is asked any more
        ({"sigma_start": 500.0, "sigma_end": 200.0}, False),  # before a run that begins at a picture
    ],
)
def test_a_window_that_every_step_misses_is_told(numbers, told, caplog):
    levels = [100.0, 5.0, 1.0, 0.1, 0.0] if "sigma_end" in numbers else sigmas_for(EXPERT.schedule, "4")
    denoiser = ProductDenoiser([Term(EXPERT, label(0), label(0)), Term(EXPERT, label(0), label(0), **numbers)])
    denoiser.check_run(torch.zeros(1, 1, 1, 1), levels)
    assert [record.getMessage().split(", ", 1)[0] for record in caplog.records] == ["The window of gauss"] * told


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (2, 4, 6), (2, 1, 4, 6)])
def test_masks_broadcast_to_samples(shape):
    x = torch.zeros(2, 3, 4, 6, dtype=torch.float64)
    mask = Term(EXPERT, label(0), mask=torch.ones(shape)).mask_like(x)
    assert torch.broadcast_shapes(mask.shape, x.shape) == x.shape
    assert mask.dtype == x.dtype


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 4), "4×6 for gauss"),
        *((shape, r"shape \(H, W\), .* for gauss") for shape in [(6,), (3, 4, 6), (2, 3, 4, 6), (2, 1, 1, 4, 6)]),
    ],
)
def test_masks_of_another_shape_are_refused(shape, expected):
    term = Term(EXPERT, label(0), mask=torch.ones(shape))
    with pytest.raises(ValueError, match=f"mask of {expected}"):
        term.mask_like(torch.zeros(2, 3, 4, 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": math.nan}, "finite weight"),
        ({"reliability": -0.1}, "reliability of 0 or more"),
        ({"reliability": math.nan}, "reliability of 0 or more"),
        *(
            ({name: value}, rf"Expected a number as {name} for gauss and got {got}")
            for name in ("weight", "reliability", "start", "end", "sigma_start", "sigma_end")
            for value, got in (("2", "'2'"), (None, "None"), (torch.ones(2), "tensor"))
        ),
        ({"condition": None}, "Gauss needs a prompt"),
        ({"start": 0.5, "end": 0.5}, "start below end for gauss and got 0.5 and 0.5"),
        ({"end": 1.1}, "start and end between 0 and 1 for gauss and got 0 and 1.1"),
        ({"mask": torch.full((4, 4), 1.5)}, "mask values in 0…1"),
        ({"mask": torch.full((4, 4), math.nan)}, "mask values in 0…1"),
        ({"mask": np.ones((1, 1))}, "Expected a tensor as the mask of gauss and got ndarray"),
        ({"mask": "left"}, "Expected a tensor as the mask of gauss and got str"),
        ({"condition": "red hair"}, "Expected a Condition as the condition of gauss and got str; encode it"),
        ({"null": torch.zeros(1, 8, 8, 3)}, "Expected a Condition as the null of gauss and got Tensor; encode it"),
        ({"expert": "hair"}, "Expected an Expert and got str; load one, as `load_expert"),
        ({"expert": torch.nn.Identity()}, "Expected an Expert and got Identity; load one, as `load_expert"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        Term(**{"expert": EXPERT, "condition": label(0), **options})


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("weights", [(2.0, 3.0), (0.5, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize("rule", [EQ10, OWN_NULL])
def test_masks_on_a_device_are_never_looked_into(rule, weights, guided):
    """Meta tensors can't be. Plans are decided by the same masks on the host; only their maps are made of those."""
    left = (torch.arange(6) < 3).float().expand(1, 1, 4, 6)
    masks, methods = [left, 1 - left], Passes(end=0.5, threshold=1.0).methods(lambda progress: 1 - progress)
    terms = [TermNumbers(weight=weight) for weight in weights]

    def made(masks, masks_on_host=()):
        combination = Combination(
            terms=terms, rule=rule, masks=masks, masks_on_host=masks_on_host, methods=methods, as_guidance=True
        )
        return plan_product(combination, Moment((0, 1), (1.0, 2.0), tuple(guided for _ in methods)))

    plan, elsewhere = made(masks), made([mask.to("meta") for mask in masks], masks)
    assert {weight.device.type for weight in elsewhere.weights if isinstance(weight, torch.Tensor)} == {"meta"}
    for name in ("without_null", "has_reliability", "own_null_counts", "scale", "conditions", "nulls"):
        assert getattr(elsewhere, name) == getattr(plan, name), name
    beside = made([mask.clone() for mask in masks], masks)
    for name in ("weights", "reliabilities"):
        for one, other in zip(getattr(plan, name), getattr(beside, name), strict=True):
            torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), rtol=0, atol=0)
