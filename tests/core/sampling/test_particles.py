"""Particles against the product of Gaussian densities, which is known exactly."""

import functools
import math

import pytest
import torch
from torch import Tensor

from mcdm_core import Passes, ProductDenoiser, Term, sample_ddpm, sample_particles
from mcdm_core.expert.gaussian import gaussian_expert, label, product_moments
from mcdm_core.product.own_null import OWN_NULL
from mcdm_core.sampling.particles import (
    Resampling,
    effective_size,
    log_weight_change,
    systematic_ancestors,
)

from ...support import particles as plain
from ...support.gaussians import recorded, samples

MEANS, VARIANCES, COEFFICIENTS = [-1.0, 1.5, 0.2], [0.3, 0.8, 2.0], [1.0, 1.0, -1.0]
COUNT = 20_000
SIGMAS = [*(100.0 * 2e-4 ** (i / 199) for i in range(200)), 0.0]


def product(weights: tuple[float, float] = (1.0, 1.0), **settings: object) -> ProductDenoiser:
    expert = gaussian_expert(MEANS, VARIANCES)
    terms = [Term(expert, label(k), label(2), weight=w) for k, w in enumerate(weights)]
    return ProductDenoiser(terms, **settings)


def noise(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 1, 1, dtype=torch.float64, generator=generator) * SIGMAS[0]


@pytest.fixture(scope="module")
def runs():
    """Samples and reports of a run, by the share below which it resamples."""

    @functools.cache
    def run(resample_below: float) -> tuple[Tensor, list[Resampling]]:
        reports: list[Resampling] = []
        options = {"resample_below": resample_below, "report": reports.append}
        generator = torch.Generator().manual_seed(3)
        found = sample_particles(product(), noise(COUNT), SIGMAS, generator=generator, **options)
        return found.flatten(), reports

    return run


def exact_moments(sigmas: list[float]) -> tuple[float, float]:
    """Mean and variance of weighted particles: weights are exponentials of squares, and steps are affine."""
    mean, variance = 0.0, sigmas[0] ** 2
    for i in range(len(sigmas) - 1):
        sigma, kept = sigmas[i], (sigmas[i + 1] / sigmas[i]) ** 2
        gains = [s / (s + sigma**2) for s in VARIANCES]
        offsets = [m * (1 - g) for m, g in zip(MEANS, gains, strict=True)]
        gain = sum(c * g for c, g in zip(COEFFICIENTS, gains, strict=True))
        offset = sum(c * o for c, o in zip(COEFFICIENTS, offsets, strict=True))
        rate = (1 - sigmas[i + 1] / sigma) / sigma**2
        precision, pull = 1 / variance, mean / variance
        for c, g, o in zip(COEFFICIENTS, gains, offsets, strict=True):
            precision += 2 * rate * c * (g - gain) ** 2
            pull -= 2 * rate * c * (g - gain) * (o - offset)
        factor = kept + (1 - kept) * gain
        mean = factor * pull / precision + (1 - kept) * offset
        variance = factor**2 / precision + sigmas[i + 1] ** 2 * (1 - kept)
    return mean, variance


def spaced(count: int) -> list[float]:
    return [*(100.0 * 2e-4 ** (i / (count - 1)) for i in range(count)), 0.0]


def test_weighted_particles_tend_to_the_product_of_the_densities():
    """In the first order of the step, so that two runs tell the limit."""
    target = product_moments(MEANS, VARIANCES, COEFFICIENTS)
    coarse, fine = exact_moments(spaced(1000)), exact_moments(spaced(2000))
    assert fine == pytest.approx(tuple(target), abs=0.003)
    extrapolated = [2 * b - a for a, b in zip(coarse, fine, strict=True)]
    assert extrapolated == pytest.approx(tuple(target), abs=5e-4)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("resample_below", [0.0, 0.8, 1.0])
def test_particles_have_the_exact_moments(runs, resample_below):
    """The standard errors are those of an effective size of 0.35, about what the weights alone leave."""
    mean, variance = exact_moments(SIGMAS)
    found, _ = runs(resample_below)
    assert found.mean().item() == pytest.approx(mean, abs=3 * math.sqrt(variance / (0.35 * COUNT)))
    assert found.var().item() == pytest.approx(variance, abs=3 * variance * math.sqrt(2 / (0.35 * COUNT)))
    assert mean < -0.36  # ancestral sampling alone reaches -0.18


def test_their_weights_leave_an_effective_size_of_about_three_eighths(runs):
    """15 thousand of 40 where it was first measured; a few heavy ones decide it."""
    _, reports = runs(0.0)
    assert [report.ancestors is None for report in reports] == [True] * (len(SIGMAS) - 2) + [False]
    assert 0.25 < reports[-1].effective / COUNT < 0.6


def test_when_it_resamples(runs):
    _, reports = runs(0.8)
    for report in reports[:-1]:
        assert (report.ancestors is not None) == (report.effective < 0.8 * COUNT)
    assert sum(report.ancestors is not None for report in reports) >= 2
    _, always = runs(1.0)
    assert sum(report.ancestors is not None for report in always) > len(SIGMAS) / 2  # not where all are alike yet


@pytest.mark.parametrize("rule", ["eq10", "own null"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.5, -0.5), (0.4, 0.6), (1.5, 0.0)], ids=str)
def test_the_weights_change_as_the_equation_says(weights, rule):
    """(h/σ)(‖ε_c‖² − Σ c_k ‖ε_k‖²) in plain loops."""
    x, sigma, sigma_next = samples(0.4, -1.7, 3.0), 0.8, 0.5
    settings = {"rule": OWN_NULL} if rule == "own null" else {}
    denoised, factors = product(weights, **settings).with_factors(x, sigma)
    signed = [weights[0], weights[1], 1 - weights[0] - weights[1]]
    for i, value in enumerate(x.flatten().tolist()):
        eps = [(value - (m + s / (s + sigma**2) * (value - m))) / sigma for m, s in zip(MEANS, VARIANCES, strict=True)]
        combined = sum(c * e for c, e in zip(signed, eps, strict=True))
        expected = combined**2 - sum(c * e**2 for c, e in zip(signed, eps, strict=True))
        found = log_weight_change(factors, sigma, sigma_next)[i].item()
        assert found == pytest.approx((sigma - sigma_next) / sigma * expected, abs=1e-9)
        assert denoised.flatten()[i].item() == pytest.approx(value - sigma * combined, abs=1e-9)
    assert sum(c for c, _ in factors) == pytest.approx(1)


def test_an_area_is_all_that_counts():
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    area = torch.tensor([[1.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    _, factors = product().with_factors(x, 0.8)
    parts = [
        log_weight_change([(c, of[:, :, i, j, None, None]) for c, of in factors], 0.8, 0.5) for i, j in ((0, 0), (1, 0))
    ]
    torch.testing.assert_close(log_weight_change(factors, 0.8, 0.5, area), parts[0] + 0.5 * parts[1])


def test_brute_force():
    """A whole run of three particles in plain numbers, with the numbers that the generator draws."""
    sigmas, x, limit = [3.0, 1.2, 0.5, 0.0], samples(2.0, -3.0, 6.0), 0.4
    options = {"resample_below": 1.0, "limit": limit}
    found = sample_particles(product(), x, sigmas, generator=torch.Generator().manual_seed(4), **options)

    def asked(x: Tensor, sigma: float) -> tuple[Tensor, list[tuple[float, Tensor]]]:
        x0s = [m + s / (s + sigma**2) * (x - m) for m, s in zip(MEANS, VARIANCES, strict=True)]
        terms = [*zip(COEFFICIENTS, x0s, strict=True)]
        return sum(c * x0 for c, x0 in terms), terms

    particles = plain.Particles(3, 1.0, limit, torch.Generator().manual_seed(4))
    torch.testing.assert_close(found, plain.sample_particles(x, sigmas, asked, particles), atol=1e-9, rtol=0)
    assert particles.resampled >= 2


def test_systematic_resampling_rounds_up_or_down():
    weights = torch.tensor([0.5, 0.05, 0.0, 0.3, 0.15], dtype=torch.float64)
    for offset in (0.0, 0.3, 0.999):
        counts = systematic_ancestors(weights.log(), offset).bincount(minlength=5)
        assert counts.sum() == 5
        assert ((counts - 5 * weights).abs() < 1).all()
        assert counts[2] == 0
    assert systematic_ancestors(torch.zeros(7), 0.5).tolist() == list(range(7))
    drawn = [systematic_ancestors(weights.log(), (i + 0.5) / 1000).bincount(minlength=5) for i in range(1000)]
    torch.testing.assert_close(torch.stack(drawn).double().mean(0), 5 * weights, atol=0.003, rtol=0)


def test_the_effective_size():
    assert effective_size(torch.zeros(8)) == pytest.approx(8)
    assert effective_size(torch.tensor([0.0, -1e3, -1e3])) == pytest.approx(1)
    assert effective_size(torch.tensor([3.0, 3.0, -1e3])) == pytest.approx(2)


def test_one_expert_alone_is_ancestral_sampling_to_the_bit():
    denoiser = ProductDenoiser([Term(gaussian_expert([0.3], [0.5]), label(0))])
    found, plain = (
        sampler(denoiser, noise(5), SIGMAS, generator=torch.Generator().manual_seed(2))
        for sampler in (sample_particles, sample_ddpm)
    )
    assert torch.equal(found, plain)


@pytest.mark.parametrize(("resample_below", "same"), [(1.0, True), (0.0, False)])
def test_after_a_resampling_no_prediction_of_other_particles_stands_in_for_a_pass(resample_below, same):
    def run(passes: Passes) -> Tensor:
        denoiser, levels = product(settings=[passes]), SIGMAS[:-1:20]
        generator = torch.Generator().manual_seed(1)
        with denoiser.running(levels):
            options = {"generator": generator, "resample_below": resample_below}
            return sample_particles(denoiser, noise(6), levels, **options)

    assert torch.equal(run(Passes(tolerance=1e9, refresh=3)), run(Passes())) is same


def test_a_seed_gives_one_batch():
    def run(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return sample_particles(product(), noise(6), SIGMAS[::20], generator=generator)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resample_below": -0.1}, "0 to 1, to resample below and got -0.1; set"),
        ({"resample_below": math.nan}, "0 to 1, to resample below and got nan; set"),
        ({"limit": 0.0}, "limit above 0 .* and got 0; set"),
        ({"limit": math.nan}, "limit above 0 .* and got nan; set"),
        ({"x": samples(1.0)}, "at least 2 samples, the particles, and got 1; raise"),
        ({"denoiser": lambda x, sigma: x}, "product of experts, .* got a function without `with_factors`; use another"),
    ],
)
def test_refusals(options, message):
    expert = recorded(gaussian_expert([0.3], [0.5]))
    given = {"denoiser": ProductDenoiser([Term(expert, label(0))]), "x": samples(1.0, 2.0), "sigmas": [1.0, 0.0]}
    with pytest.raises(ValueError, match=message):
        sample_particles(**given | options)
    assert not expert.network.batches


def test_predictions_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match=r"finite predictions to weigh the particles by .* at σ = 2; lower"):
        sample_particles(product(), samples(1.0, math.nan), [2.0, 0.0])
