"""What a library's user may take for an argument of a run, and is none."""

import numpy as np
import pytest
import torch

from mcdm_core import Passes, ProductDenoiser, Term, sample_product
from mcdm_core.sampling import SAMPLERS, sample_ddim
from studies.gaussian import gaussian_expert, label


def term() -> Term:
    return Term(gaussian_expert([0.0], [1.0]), label(0))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sampler": "ddim"}, "Expected a function as sampler and got 'ddim'; take it from SAMPLERS"),
        ({"rule": "own_null"}, "Expected EQ10 or OWN_NULL as rule and got 'own_null'; import"),
        ({"settings": Passes(switch=1)}, "Expected a list of settings and got one, Passes; put it in brackets"),
    ],
)
def test_names_and_single_settings_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        sample_product([term()], torch.zeros(1, 1, 1, 1), "2", **arguments)


@pytest.mark.parametrize(("given", "named"), [("red hair", "str"), (torch.zeros(1, 8, 8, 3), "Tensor")])
@pytest.mark.parametrize("role", ["condition", "null"])
def test_texts_and_pictures_are_no_conditions(role, given, named):
    arguments = {"condition": label(0), role: given}
    with pytest.raises(ValueError, match=f"Expected a Condition as the {role} of gauss and got {named}; encode it"):
        Term(gaussian_expert([0.0], [1.0], name="gauss"), **arguments)


@pytest.mark.parametrize("given", ["hair", torch.nn.Identity()])
def test_names_and_networks_are_no_experts(given):
    with pytest.raises(
        ValueError, match=f"Expected an Expert and got {type(given).__name__}; load one, as `load_expert"
    ):
        Term(given, label(0))


@pytest.mark.parametrize("mask", [np.ones((1, 1)), [[1.0]], "left"])
def test_only_a_tensor_is_a_mask(mask):
    with pytest.raises(ValueError, match=f"Expected a tensor as the mask of gauss and got {type(mask).__name__}"):
        Term(gaussian_expert([0.0], [1.0], name="gauss"), label(0), mask=mask)


@pytest.mark.parametrize(
    ("noise", "got"),
    [
        (torch.zeros(1, 1, 1), r"shape \(1, 1, 1\)"),
        (torch.zeros(1, 4, 1, 1), r"shape \(1, 4, 1, 1\)"),
        (np.zeros((1, 1, 1, 1)), "ndarray"),
    ],
)
def test_noise_of_another_shape_is_refused(noise, got):
    with pytest.raises(ValueError, match=rf"shape \(batch, 1, 1, 1\), as samples of gauss are, and got {got}; draw it"):
        sample_product([Term(gaussian_expert([0.0], [1.0], name="gauss"), label(0))], noise, "2")


@pytest.mark.parametrize("levels", [[2.5, 1.5, 0], 25.0, torch.tensor([2.5, 0.0])])
def test_noise_levels_are_no_spacing(levels):
    with pytest.raises(ValueError, match=r"whole number of timesteps for each section .* for noise levels of your own"):
        sample_product([term()], torch.zeros(1, 1, 1, 1), levels)


def test_an_expert_is_no_term():
    with pytest.raises(ValueError, match="Expected terms and got Expert; make one of each expert"):
        sample_product([gaussian_expert([0.0], [1.0])], torch.zeros(1, 1, 1, 1))


@pytest.mark.parametrize("eta", [7.0, -1.0, float("nan"), torch.tensor(1.5)])
def test_eta_is_a_share(eta):
    with pytest.raises(ValueError, match=f"Expected an eta from 0 to 1 for DDIM and got {eta:g}; set 0"):
        sample_product([term()], torch.zeros(1, 1, 1, 1), "2", eta=eta)


@pytest.mark.parametrize(
    ("sampler", "takes"),
    [("ddpm", "DDPM .* variance"), ("ddpm-learned", "LearnedDDPM .* none"), ("logic", "LogicSampler .* logic, area")],
)
def test_an_option_of_another_sampler_is_refused(sampler, takes):
    takes = takes.replace(" .* ", r" but those that it takes \(") + r"\) and got eta; leave"
    with pytest.raises(ValueError, match=f"Expected no options of {takes}"):
        sample_product([term()], torch.zeros(1, 1, 1, 1), "2", sampler=SAMPLERS[sampler], eta=0.5)


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
