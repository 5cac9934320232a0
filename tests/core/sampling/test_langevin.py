"""Langevin corrections against closed forms: for Gaussians every sampler's moments are known exactly."""

import functools
import math

import pytest
import torch
from torch import Tensor

from mcdm_core import SAMPLERS, ProductDenoiser, Term, sample_ddim, sample_langevin, sample_logic, sample_particles
from mcdm_core.expert.gaussian import gaussian_expert, label, product_moments
from mcdm_core.sampling import langevin_step

from ...support.gaussians import recorded, samples

MEANS, VARIANCES, COEFFICIENTS = [-1.0, 1.5, 0.2], [0.3, 0.8, 2.0], [1.0, 1.0, -1.0]
COUNT = 4_000
STEPWISE = {**SAMPLERS, "ddim-eta": functools.partial(sample_ddim, eta=0.5)}


def product() -> ProductDenoiser:
    """Experts 0 and 1 with weight 1, and the null 2: coefficients 1, 1 and −1."""
    expert = gaussian_expert(MEANS, VARIANCES)
    return ProductDenoiser([Term(expert, label(0), label(2)), Term(expert, label(1), None, reliability=0)])


def levels(first: float = 100.0, last: float = 0.03, count: int = 200) -> list[float]:
    return [*(first * (last / first) ** (i / (count - 1)) for i in range(count)), 0.0]


def exact_moments(sigmas: list[float], corrections: int, ratio: float) -> tuple[float, float]:
    """Mean and variance of DDIM with corrections: each step is affine, and Langevin's noise adds its variance."""
    mean, variance = 0.0, sigmas[0] ** 2

    def predicted(sigma: float) -> tuple[float, float]:
        slope = offset = 0.0
        for mu, s, c in zip(MEANS, VARIANCES, COEFFICIENTS, strict=True):
            slope += c * s / (s + sigma**2)
            offset += c * mu * sigma**2 / (s + sigma**2)
        return slope, offset

    for i in range(len(sigmas) - 1):
        slope, offset = predicted(sigmas[i])
        kept = sigmas[i + 1] / sigmas[i]
        factor = kept + (1 - kept) * slope
        mean, variance = factor * mean + (1 - kept) * offset, factor**2 * variance
        if sigmas[i + 1] > 0:
            slope, offset = predicted(sigmas[i + 1])
            for _ in range(corrections):
                factor = 1 - ratio + ratio * slope
                mean, variance = factor * mean + ratio * offset, factor**2 * variance
                variance += 2 * ratio * sigmas[i + 1] ** 2
    return mean, variance


@pytest.fixture(scope="module")
def corrected():
    """Samples of a run, by the number of corrections."""

    @functools.cache
    def run(corrections: int) -> Tensor:
        generator, sigmas = torch.Generator().manual_seed(corrections), levels()
        x = torch.randn(COUNT, 1, 1, 1, dtype=torch.float64, generator=generator) * sigmas[0]
        return sample_langevin(product(), x, sigmas, generator=generator, corrections=corrections).flatten()

    return run


# The figures were measured before this was written, at levels of which only σ_max and the number were kept.
FIGURES = {1: (-0.257, 0.226), 4: (-0.340, 0.238), 16: (-0.363, 0.243)}


@pytest.mark.one_of(3)
@pytest.mark.parametrize("corrections", FIGURES)
def test_samples_have_the_exact_moments(corrected, corrections):
    mean, variance = exact_moments(levels(), corrections, 0.1)
    found = corrected(corrections)
    assert abs(found.mean().item() - mean) < 3 * math.sqrt(variance / COUNT)
    assert abs(found.var().item() - variance) < 3 * variance * math.sqrt(2 / COUNT)
    assert (mean, variance) == pytest.approx(FIGURES[corrections], abs=0.01)


def test_corrections_approach_the_product_of_the_densities():
    target = product_moments(MEANS, VARIANCES, COEFFICIENTS)
    errors = [abs(exact_moments(levels(), k, 0.1)[0] - target.mean) for k in (0, 1, 4, 16, 64)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.3
    assert errors[-1] < 0.005


def test_at_one_level_langevin_reaches_the_product_of_the_noised_densities():
    """It is stationary at the density whose score it follows, up to the r/2 that a finite step adds."""
    sigma, denoiser, generator = 0.7, product(), torch.Generator().manual_seed(1)
    precision = sum(c / (s + sigma**2) for s, c in zip(VARIANCES, COEFFICIENTS, strict=True))
    mean = sum(c * m / (s + sigma**2) for m, s, c in zip(MEANS, VARIANCES, COEFFICIENTS, strict=True)) / precision
    x = torch.randn(COUNT, 1, 1, 1, dtype=torch.float64, generator=generator)
    for _ in range(300):
        noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
        x = langevin_step(x, denoiser(x, sigma), sigma, 0.05, noise)
    assert abs(x.mean().item() - mean) < 3 / math.sqrt(precision * COUNT)
    assert x.var().item() * precision == pytest.approx(1 / (1 - 0.05 * sigma**2 * precision / 2), abs=0.05)


def test_the_step_is_the_same_in_a_flows_form():
    """With y = x/α, at σ/α."""
    x, denoised, noise, alpha, sigma = samples(0.4, -1.0), samples(0.1, 0.3), samples(0.7, -0.2), 0.25, 0.75
    found = langevin_step(x, denoised, sigma, 0.2, noise, alpha)
    plain = langevin_step(x / alpha, denoised, sigma / alpha, 0.2, noise)
    torch.testing.assert_close(found / alpha, plain, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", [name for name in STEPWISE if name != "ddpm-learned"])
def test_without_corrections_it_is_the_sampler_to_the_bit(name):
    sigmas, x = levels(count=12), samples(30.0, -4.0, 11.0)
    found, plain = (
        sampler(product(), x, sigmas, generator=torch.Generator().manual_seed(5))
        for sampler in (functools.partial(sample_langevin, sampler=STEPWISE[name], corrections=0), STEPWISE[name])
    )
    assert torch.equal(found, plain)


@pytest.mark.parametrize("sampler", [sample_particles, functools.partial(sample_logic, corrected=True), sample_logic])
def test_samplers_that_weigh_samples_by_all_steps_are_refused(sampler):
    expert = recorded(gaussian_expert([0.3], [0.5]))
    x = samples(1.0, 2.0)
    with pytest.raises(ValueError, match=r"ddim or ddpm, to correct and got (particles|logic), which .* choose one"):
        sample_langevin(ProductDenoiser([Term(expert, label(0))]), x, [1.0, 0.5, 0.0], sampler=sampler)
    assert not expert.network.batches


def test_brute_force():
    """DDIM and two corrections in plain numbers, with the noise that the generator draws."""
    sigmas, ratio, start = [4.0, 1.5, 0.4, 0.0], 0.3, 3.7
    generator = torch.Generator().manual_seed(9)
    found = sample_langevin(product(), samples(start), sigmas, generator=generator, corrections=2, ratio=ratio)
    generator, x = torch.Generator().manual_seed(9), start

    def predicted(x: float, sigma: float) -> float:
        return sum(
            c * (m + s / (s + sigma**2) * (x - m)) for m, s, c in zip(MEANS, VARIANCES, COEFFICIENTS, strict=True)
        )

    for sigma, after in ((4.0, 1.5), (1.5, 0.4), (0.4, 0.0)):
        x = x + (after - sigma) * (x - predicted(x, sigma)) / sigma
        for _ in range(2 if after else 0):
            delta, z = ratio * after**2, torch.randn(1, dtype=torch.float64, generator=generator).item()
            x = x + delta * (predicted(x, after) - x) / after**2 + math.sqrt(2 * delta) * z
    assert found.item() == pytest.approx(x, abs=1e-9)


def test_every_evaluation_is_reported_and_there_are_no_others():
    expert, seen = recorded(gaussian_expert([0.3], [0.5])), []
    denoiser = ProductDenoiser([Term(expert, label(0))])
    report = lambda *of: seen.append(of[:2])  # noqa: E731
    sample_langevin(denoiser, samples(0.5), [4.0, 2.0, 1.0, 0.0], callback=report, corrections=2)
    assert seen == [(0, 4.0), (0, 2.0), (0, 2.0), (1, 2.0), (1, 1.0), (1, 1.0), (2, 1.0)]
    assert expert.network.levels == pytest.approx([sigma for _, sigma in seen], rel=1e-3)


def test_a_seed_gives_one_picture():
    def run(seed: int) -> Tensor:
        return sample_langevin(product(), samples(0.5), levels(count=5), generator=torch.Generator().manual_seed(seed))

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corrections": -1}, "0 or more corrections at each level and got -1; set 0"),
        ({"ratio": 0.0}, "ratio above 0 and at most 1 and got 0; set one"),
        ({"ratio": -0.1}, "got -0.1; set one"),
        ({"ratio": math.nan}, "got nan; set one"),
    ],
)
def test_refusals(options, message):
    expert = recorded(gaussian_expert([0.3], [0.5]))
    with pytest.raises(ValueError, match=message):
        sample_langevin(ProductDenoiser([Term(expert, label(0))]), samples(1.0), [1.0, 0.0], **options)
    assert not expert.network.batches
