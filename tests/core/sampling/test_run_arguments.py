"""What a library's user may take for an argument of a run, and is none."""

import numpy as np
import pytest
import torch

from mcdm_core import Passes, ProductDenoiser, Term, sample_product
from mcdm_core.sampling import SAMPLERS, sample_ddim
from studies.gaussian import gaussian_expert, label

NOISE = r"shape \(batch, 1, 1, 1\), as samples of gauss are, and got"
SPACING = "whole number of timesteps for each section .* for noise levels of your own"
ETA = "Expected an eta from 0 to 1 for DDIM and got"
OPTIONS = r"Expected no options of {} and got eta; leave"
TAKEN = {
    "ddpm": r"DDPM but those that it takes \(variance\)",
    "ddpm-learned": r"LearnedDDPM but those that it takes \(none\)",
    "logic": r"LogicSampler but those that it takes \(logic, area\)",
}


def term() -> Term:
    return Term(gaussian_expert([0.0], [1.0]), label(0))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sampler": "ddim"}, "Expected a function as sampler and got 'ddim'; take it from SAMPLERS"),
        ({"rule": "own_null"}, "Expected EQ10 or OWN_NULL as rule and got 'own_null'; import"),
        ({"settings": Passes(switch=1)}, "Expected a list of settings and got one, Passes; put it in brackets"),
        ({"terms": [term().expert]}, "Expected terms and got Expert; make one of each expert"),
        ({"noise": torch.zeros(1, 1, 1)}, rf"{NOISE} shape \(1, 1, 1\); draw it"),
        ({"noise": torch.zeros(1, 4, 1, 1)}, rf"{NOISE} shape \(1, 4, 1, 1\); draw it"),
        ({"noise": np.zeros((1, 1, 1, 1))}, f"{NOISE} ndarray; draw it"),
        *(({"spacing": levels}, SPACING) for levels in ([2.5, 1.5, 0], 25.0, torch.tensor([2.5, 0.0]))),
        *(({"eta": eta}, f"{ETA} {eta:g}; set 0") for eta in (7.0, -1.0, float("nan"), torch.tensor(1.5))),
        *(({"sampler": SAMPLERS[name], "eta": 0.5}, OPTIONS.format(takes)) for name, takes in TAKEN.items()),
    ],
)
def test_what_a_run_cannot_use_is_refused(arguments, sentence):
    given = {"terms": [term()], "noise": torch.zeros(1, 1, 1, 1), "spacing": "2"}
    with pytest.raises(ValueError, match=sentence):
        sample_product(**given | arguments)


@pytest.mark.parametrize(
    ("levels", "got"),
    [
        ([1.0, 0.0, 0.0], "0 as number 2 of 3"),
        (torch.tensor([1.0, float("nan"), 0.0]), "nan as number 2 of 3"),
        ([float("inf"), 0.0], "inf as number 1 of 2"),
        ([2.0, 1.0, -1.0], "-1 as number 3 of 3"),
    ],
)
@pytest.mark.parametrize("name", SAMPLERS)
def test_noise_levels_that_cannot_be_stepped_along_are_refused_at_once(name, levels, got):
    def never(x, sigma):
        raise AssertionError

    with pytest.raises(ValueError, match=f"Expected finite noise levels above 0, .* and got {got}; correct"):
        SAMPLERS[name](never, torch.zeros(1, 1, 1, 1), levels)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "ddim"])
def test_ancestral_samplers_refuse_noise_levels_that_rise(name):
    with pytest.raises(ValueError, match=r"Expected noise levels that fall .* and got 2 after 1; sort"):
        SAMPLERS[name](ProductDenoiser([term()]), torch.zeros(1, 1, 1, 1), [1.0, 2.0, 0.0])


def test_ddim_goes_back_to_noise():
    """Up and down again by steps that are exact for a single point."""
    x = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64)
    there = sample_ddim(lambda x, sigma: torch.full_like(x, 0.3), x, [1.0, 2.0, 5.0], eta=1.0)
    assert there.item() == pytest.approx(0.3 + 5 * 0.4)
    assert sample_ddim(lambda x, sigma: torch.full_like(x, 0.3), there, [5.0, 2.0, 1.0]).item() == pytest.approx(0.7)
