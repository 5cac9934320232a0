"""Samplers of Gaussian experts against their closed forms.

They reach their own limit, not the product of the densities: a product of noised marginals is not the noised product.
"""

import functools
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mcdm_core import SAMPLERS, ProductDenoiser, Term, sample_ddim, sample_ddpm_learned, sigmas_for
from mcdm_core.sampling import ddim, ddpm, ddpm_learned
from mcdm_core.sampling.types import Sampler
from studies.gaussian import gaussian_expert, label, wide_schedule

from ...support.gaussians import samples

STOCHASTIC: dict[str, Sampler] = {
    "ddim": functools.partial(sample_ddim, eta=1.0),
    **{name: SAMPLERS[name] for name in ("ddpm", "ddpm-large")},
}


def test_ddim_errs_in_the_first_order_and_extrapolates_to_the_closed_form():
    """Of two experts and their null, with coefficients 1, 1 and −1; two points fix the moments of an affine map."""
    expert, moments = gaussian_expert([-1.0, 1.5, 0.2], [0.3, 0.8, 2.0]), []
    denoiser = ProductDenoiser([Term(expert, label(0), label(2)), Term(expert, label(1), None, reliability=0)])
    for spacing in ("500", "1000"):
        sigmas = sigmas_for(expert.schedule, spacing)
        at_0, at_1 = sample_ddim(denoiser, sigmas[0] * samples(0.0, 1.0), sigmas).flatten().tolist()
        moments.append((at_0, (at_1 - at_0) ** 2))
    (coarse_mean, coarse_variance), (mean, variance) = moments
    assert 2 * mean - coarse_mean == pytest.approx(-0.0624, abs=3e-4)
    assert 2 * variance - coarse_variance == pytest.approx(0.1200, abs=3e-4)


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


@pytest.fixture
def variance_of(monkeypatch):
    """Variance of a run's end, not estimated but exact: an affine run sums what each of its noises makes of the end."""

    def variance(sampler: Sampler, denoiser: object, sigmas: list[float], start_variance: float) -> float:
        drawn = iter(range(2, len(sigmas) + 1))

        def one_row_each(x: Tensor, generator: torch.Generator | None) -> Tensor:
            noise = torch.zeros_like(x)
            noise[next(drawn)] = 1
            return noise

        for module in (ddim, ddpm, ddpm_learned):
            monkeypatch.setattr(module, "noise_like", one_row_each)
        start = torch.zeros(len(sigmas) + 1, 1, 1, 1, dtype=torch.float64)
        start[1] = start_variance**0.5
        end = sampler(denoiser, start, sigmas).flatten()
        return ((end[1:] - end[0]) ** 2).sum().item()

    return variance


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_the_variance_of_stochastic_samplers_converges_in_the_first_order(name, variance_of):
    s, first, last = 0.4, 100.0, 0.01
    denoiser = ProductDenoiser([Term(gaussian_expert([0.7], [s], wide_schedule(last, first, 2049)), label(0))])
    errors = []
    for steps in (64, 128, 256, 512):
        sigmas = [first * (last / first) ** (i / steps) for i in range(steps + 1)]
        errors.append(abs(variance_of(STOCHASTIC[name], denoiser, sigmas, s + first**2) - (s + last**2)))
    orders = torch.tensor(errors[:-1]).div(torch.tensor(errors[1:])).log2()
    assert orders.tolist() == pytest.approx([1, 1, 1], abs=0.12)


class KnowsTheVariance:
    """Denoiser of data N(0, s) that has learned the true variance of each step, as no fixed one is."""

    def __init__(self, s: float, sigmas: list[float]):
        self.s, self.next = s, dict(pairwise(sigmas))

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.s / (self.s + sigma**2) * x

    def with_variance(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        sigma_next = self.next[sigma]
        low, high = ddpm.posterior_variance(sigma, sigma_next), ddpm.forward_variance(sigma, sigma_next)
        # What x leaves open of x0 comes on top of the posterior's variance, which is that for a known x0.
        of_x0 = self.s * sigma**2 / (self.s + sigma**2)
        true = torch.tensor(low + (1 - (sigma_next / sigma) ** 2) ** 2 * of_x0, dtype=torch.float64)
        return self(x, sigma), 2 * (true / low).log() / torch.tensor(high / low, dtype=torch.float64).log() - 1


@pytest.mark.parametrize("s", [0.1, 0.4, 1.0])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_variance_that_was_learned_makes_any_number_of_steps_exact(s, steps, variance_of):
    first, last = 50.0, 0.05
    sigmas = [first * (last / first) ** (i / steps) for i in range(steps + 1)]
    denoiser = KnowsTheVariance(s, sigmas)
    found = variance_of(sample_ddpm_learned, denoiser, sigmas, s + first**2)
    assert found == pytest.approx(s + last**2, rel=1e-9)
    # It is β where the data are standard normal, and lies between β and β̃ where they vary less (Ho et al., §3.2).
    v = denoiser.with_variance(torch.zeros(1), first)[1].item()
    assert v == pytest.approx(1) if s == 1 else -1 < v < 1
