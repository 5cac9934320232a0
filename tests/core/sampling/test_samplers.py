"""Samplers against the published steps and closed forms, in float32 and float64; and what is no argument of a run."""

import functools
import inspect
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from mcdm_core import (
    PREDICTIONS,
    SAMPLERS,
    Condition,
    Expert,
    Flow,
    Passes,
    ProductDenoiser,
    Schedule,
    Term,
    sample_ddim,
    sample_ddpm,
    sample_ddpm_learned,
    sample_product,
    sigmas_for,
)
from mcdm_core.sampling import ddim_step, forward_variance, posterior_variance
from mcdm_core.sampling.ddpm import ddpm_mean
from mcdm_core.sampling.ddpm_learned import learned_variance
from studies.gaussian import gaussian_expert, label, wide_schedule

from ...support.gaussians import recorded, respaced, samples
from ...support.published.reference_weights import reference_values
from ...support.published.sampling import Process

ANY_SAMPLER = SAMPLERS | {"ddim-eta": functools.partial(sample_ddim, eta=0.5)}


class Fixed(torch.nn.Module):
    """A network that always answers the same."""

    def __init__(self, output: torch.Tensor):
        super().__init__()
        self.output = output

    def forward(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        self.t = t
        return self.output


def denoiser_of(output: torch.Tensor, schedule: Schedule) -> ProductDenoiser:
    expert = Expert(Fixed(output), schedule, PREDICTIONS["eps"], image_size=8)
    return ProductDenoiser([Term(expert, Condition())])


@pytest.mark.parametrize("step", [0, 1, 50, 99])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_published_steps(name, step):
    values = reference_values("sampler_steps")
    x_t, noise, expected = values["x"], values[f"steps/{name}/{step}/noise"], {}
    for key in ("pred_xstart", "mean", "log_variance", "ddpm", "ddim_eta0", "ddim_eta1", "model_t"):
        expected[key] = values[f"steps/{name}/{step}/{key}"]
    respacing = respaced(Schedule.named(name), "100")
    denoiser = denoiser_of(values["model_output"], Schedule.named(name))
    sigma, alpha = respacing.log_sigmas.exp()[step].item(), respacing.alphas_cumprod[step].sqrt().item()
    sigma_next, alpha_next = 0.0, 1.0
    if step > 0:
        sigma_next = respacing.log_sigmas.exp()[step - 1].item()
        alpha_next = respacing.alphas_cumprod[step - 1].sqrt().item()

    x = x_t / alpha
    denoised, v = denoiser.with_variance(x, sigma)
    log_variance = Process(name, "100").log_variance(step, v)  # published for the last step too, which draws no noise
    if step > 0:
        in_x = learned_variance(sigma, sigma_next, v).log() + 2 * math.log(alpha_next)
        torch.testing.assert_close(in_x, log_variance, atol=1e-5, rtol=0)
        log_variance = in_x
    mean = alpha_next * ddpm_mean(x, denoised, sigma, sigma_next)
    found = {
        "model_t": denoiser.reference.network.t,
        "pred_xstart": denoised,
        "mean": mean,
        "log_variance": log_variance,
        "ddpm": mean + (step > 0) * torch.exp(0.5 * log_variance) * noise,
        "ddim_eta0": alpha_next * ddim_step(x, denoised, sigma, sigma_next, 0.0, None),
        "ddim_eta1": alpha_next * ddim_step(x, denoised, sigma, sigma_next, 1.0, noise),
    }
    # The published code computes √(1 − ᾱ) in float32, which costs it three digits where ᾱ is nearly 1.
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], atol=2e-4, rtol=0, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("variance", ["learned", "small", "large"])
def test_a_whole_run_of_ddpm_is_its_steps(variance):
    """The last two steps of a run, against the posterior of the variance-preserving form written out."""
    values = reference_values("sampler_steps")
    respacing = respaced(Schedule.cosine(), "2")
    denoiser = denoiser_of(values["model_output"].double(), Schedule.cosine())
    x = values["x"].double() * respacing.log_sigmas.exp()[-1]
    noise = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    denoised, v = denoiser.with_variance(x, respacing.log_sigmas.exp()[1])

    ac, previous, beta = respacing.alphas_cumprod[1], respacing.alphas_cumprod[0], respacing.betas[1]
    mean = (previous.sqrt() * beta * denoised + (1 - beta).sqrt() * (1 - previous) * x * ac.sqrt()) / (1 - ac)
    log_variances = {
        "learned": Process("cosine", "2").log_variance(1, v),
        "small": (beta * (1 - previous) / (1 - ac)).log(),
        "large": beta.log(),
    }
    x_next = (mean + torch.exp(0.5 * log_variances[variance]) * noise) / previous.sqrt()
    expected = denoiser(x_next, respacing.log_sigmas.exp()[0])

    sampler = SAMPLERS[{"learned": "ddpm-learned", "small": "ddpm", "large": "ddpm-large"}[variance]]
    sigmas = sigmas_for(Schedule.cosine(), "2")
    result = sampler(denoiser, x, sigmas, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(result, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("spacing", ["1000", "100", "10,10,3,2,2", "fast27", "2"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_variances_of_two_levels_are_the_published_tables(schedule, spacing):
    """The tables of the published code list timesteps; each entry is a function of its two noise levels."""
    process, sigmas = Process(schedule, spacing), sigmas_for(Schedule.named(schedule), spacing)[::-1]
    for i, (sigma_next, sigma) in enumerate(pairwise(sigmas[1:]), start=1):
        to_preserving = process.previous[i]
        posterior = process.betas[i] * (1 - process.previous[i]) / (1 - process.bars[i])
        # The published differences of numbers near 1 lose up to four of float64's sixteen digits.
        assert to_preserving * posterior_variance(sigma, sigma_next) == pytest.approx(posterior, rel=1e-10)
        assert to_preserving * forward_variance(sigma, sigma_next) == pytest.approx(process.betas[i], rel=1e-10)
        v = torch.tensor([-1.0, -0.3, 1.0, 1.4], dtype=torch.float64)
        learned = learned_variance(sigma, sigma_next, v).log() + math.log(to_preserving)
        torch.testing.assert_close(learned, process.log_variance(i, v), atol=1e-10, rtol=0)


def test_ddim_keeps_float32_exact_at_large_noise():
    denoiser = ProductDenoiser([Term(gaussian_expert([0.3], [0.5], Schedule.cosine()), label(0))])
    sigmas = sigmas_for(denoiser.reference.schedule, "6")
    start = torch.randn(1000, 1, 1, 1, dtype=torch.float64) * sigmas[0]

    def known(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return (0.3 + 0.5 / (0.5 + sigma**2) * (x.double() - 0.3)).to(x.dtype)

    exact = sample_ddim(known, start, sigmas[:-1])
    assert (sample_ddim(known, start.float(), sigmas[:-1]) - exact).abs().max() < 1e-4


def network_with_variance() -> ProductDenoiser:
    values = reference_values("sampler_steps")
    return denoiser_of(values["model_output"].double(), Schedule.cosine())


@pytest.mark.parametrize("name", ANY_SAMPLER)
def test_the_callback_sees_every_evaluation(name):
    denoiser, sigmas, seen = network_with_variance(), [4.0, 2.0, 1.0, 0.0], []
    x = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    last = ANY_SAMPLER[name](denoiser, x, sigmas, callback=lambda *args: seen.append(args))
    assert [(step, sigma) for step, sigma, _ in seen] == [(0, 4.0), (1, 2.0), (2, 1.0)]
    assert torch.equal(seen[-1][2], last)


@pytest.mark.parametrize("name", ANY_SAMPLER)
def test_the_step_to_0_is_the_prediction_and_draws_nothing(name):
    """Its posterior has no variance; the published tables have that of the step before there, and nobody draws it."""
    denoiser, generator = network_with_variance(), torch.Generator().manual_seed(1)
    x, before = torch.ones(2, 3, 8, 8, dtype=torch.float64), generator.get_state()
    assert torch.equal(ANY_SAMPLER[name](denoiser, x, [2.0, 0.0], generator=generator), denoiser(x, 2.0))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("name", ANY_SAMPLER)
def test_a_level_that_comes_twice_changes_nothing(name):
    denoiser, generator = network_with_variance(), torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator)
    found = ANY_SAMPLER[name](denoiser, x, [2.0, 2.0], generator=generator)
    torch.testing.assert_close(found, x, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ANY_SAMPLER)
def test_every_sampler_has_the_one_signature(name):
    parameters = list(inspect.signature(ANY_SAMPLER[name]).parameters.values())
    assert [p.name for p in parameters[:3]] == ["denoiser", "x", "sigmas"]
    assert [p.name for p in parameters[3:5]] == ["generator", "callback"]
    assert all(
        p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[3:] if p.kind is not p.VAR_KEYWORD
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_run_leaves_nothing_in_a_sampler(name):
    sampler, x = SAMPLERS[name], torch.ones(2, 3, 8, 8, dtype=torch.float64)
    before = dict(vars(sampler))
    sampler(network_with_variance(), x, [2.0, 1.0, 0.0], generator=torch.Generator().manual_seed(1))
    assert vars(sampler) == before


@pytest.mark.parametrize("name", ANY_SAMPLER)
def test_levels_may_be_a_tensor_and_may_end_above_zero(name):
    denoiser = network_with_variance()
    x = torch.ones(2, 3, 8, 8, dtype=torch.float64)
    levels = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    found, same = (
        ANY_SAMPLER[name](denoiser, x, sigmas, generator=torch.Generator().manual_seed(1))
        for sigmas in (levels, levels.tolist())
    )
    assert torch.equal(found, same)
    # Noise is still there, which a last step to 0 takes away.
    assert not torch.equal(found, denoiser(found, 1.0))


@pytest.mark.parametrize("name", ANY_SAMPLER)
def test_a_whole_run_takes_any_sampler(name):
    values = reference_values("sampler_steps")
    expert = Expert(Fixed(values["model_output"]), Schedule.linear(), PREDICTIONS["eps"], image_size=8)
    terms, noise, sampler = [Term(expert, Condition())], values["x"], ANY_SAMPLER[name]
    sigmas = sigmas_for(expert.schedule, "5")
    found = sample_product(terms, noise, "5", sampler=sampler, generator=torch.Generator().manual_seed(2))
    start, generator = noise * math.hypot(1, sigmas[0]), torch.Generator().manual_seed(2)
    assert torch.equal(found, sampler(ProductDenoiser(terms), start, sigmas, generator=generator))
    assert (sigmas[0], sigmas[-1]) == (expert.schedule.sigma_max, 0)


@pytest.mark.parametrize("other", [Flow(), Schedule.linear()], ids=["two flows", "flow and linear"])
def test_a_whole_run_of_a_flow_carries_noise_to_its_data(other):
    first, second = (gaussian_expert([0.3], [0.25], schedule, "v") for schedule in (Flow(), other))
    terms = [Term(expert, label(0), weight=0.5) for expert in (first, second)]
    noise = samples(-1.5, 0.0, 1.0)
    found = sample_product(terms, noise, 400)
    assert torch.allclose(found, 0.3 + 0.5 * noise, atol=5e-3)  # x0 = μ + √s·n, the ODE's map
    assert sigmas_for(Flow(), 4) == pytest.approx([999, 0.74925 / 0.25075, 0.4995 / 0.5005, 0.24975 / 0.75025, 0])


@pytest.mark.parametrize(
    ("sampler", "options"), [(sample_ddim, {"eta": 0.5}), (sample_ddpm, {"variance": forward_variance})]
)
def test_a_whole_run_hands_on_the_options_of_its_sampler(sampler, options):
    terms = [Term(gaussian_expert([0.3], [0.5]), label(0))]
    given, bound = (
        sample_product(terms, samples(0.5), "5", generator=torch.Generator().manual_seed(2), **how)
        for how in ({"sampler": sampler, **options}, {"sampler": functools.partial(sampler, **options)})
    )
    assert torch.equal(given, bound)
    plain = sample_product(terms, samples(0.5), "5", sampler=sampler, generator=torch.Generator().manual_seed(2))
    assert not torch.equal(given, plain)


def test_refusals():
    expert = recorded(gaussian_expert([0.3], [0.5]))
    with pytest.raises(ValueError, match="learned variance"):
        sample_product([Term(expert, label(0))], samples(1.0), "3", sampler=sample_ddpm_learned)
    with pytest.raises(ValueError, match="learned variance, and got a function"):
        sample_ddpm_learned(lambda x, sigma: x, samples(1.0), [1.0, 0.0])
    with pytest.raises(ValueError, match="number of steps, since the first expert is a flow, and got '10,10'"):
        sigmas_for(Flow(), "10,10")
    with pytest.raises(ValueError, match="active expert at every noise level"):
        sample_product([Term(expert, label(0), end=0.5)], samples(1.0), "10")
    assert expert.network.batches == [1]  # the missing variance shows only in an answer, all else before


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


def two_spaces() -> list[Term]:
    terms = [term(), term()]
    terms[1].expert.metadata = {"vae": "another"}
    return terms


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sampler": "ddim"}, "Expected a function as sampler and got 'ddim'; take it from SAMPLERS"),
        ({"rule": "own_null"}, "Expected EQ10 or OWN_NULL as rule and got 'own_null'; import"),
        ({"settings": Passes(switch=1)}, "Expected a list of settings and got one, Passes; put it in brackets"),
        ({"settings": Passes(), "terms": two_spaces()}, "Expected a list of settings and got one, Passes; put it"),
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


def test_ddim_converges_in_the_first_order():
    mu, s, schedule = 0.7, 0.4, wide_schedule(0.01, 100, 2049)
    expert = gaussian_expert([mu], [s], schedule)
    denoiser = ProductDenoiser([Term(expert, label(0))])
    first, last = schedule.sigma_max, schedule.sigma_min
    x = samples(30.0)
    exact = mu + (30.0 - mu) * ((s + last**2) / (s + first**2)) ** 0.5
    errors = []
    for steps in (32, 64, 128, 256):
        sigmas = [first * (last / first) ** (i / steps) for i in range(steps + 1)]
        errors.append(abs(sample_ddim(denoiser, x, sigmas).item() - exact))
    orders = torch.tensor(errors[:-1]).div(torch.tensor(errors[1:])).log2()
    assert orders.tolist() == pytest.approx([1, 1, 1], abs=0.12)
