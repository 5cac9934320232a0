"""Samplers of Gaussian experts against their closed forms.

They reach their own limit, not the product of the densities: a product of noised marginals is not the noised product.
"""

import pytest
import torch
from torch import Tensor

from mcdm_core import ProductDenoiser, Respacing, Schedule, Term, sample_ddim, sample_ddpm, sigmas_for
from mcdm_core.expert.gaussian import gaussian_expert, label, ode_moments, product_moments, sde_moments, wide_schedule

from ..support.gaussians import samples

MEANS, VARIANCES, COEFFICIENTS = (
    torch.tensor(v, dtype=torch.float64) for v in ([-1, 1.5, 0.2], [0.3, 0.8, 2], [1, 1, -1])
)


def product(means: Tensor = MEANS, variances: Tensor = VARIANCES, schedule: Schedule | None = None) -> ProductDenoiser:
    """Experts 0 and 1 with weight 1, and the null 2: coefficients 1, 1 and −1."""
    expert = gaussian_expert(means.tolist(), variances.tolist(), schedule)
    return ProductDenoiser([Term(expert, label(0), label(2)), Term(expert, label(1), None, reliability=0)])


def moments_of_the_ode(denoiser: ProductDenoiser, spacing: str = "1000") -> tuple[Tensor, Tensor]:
    """Mean and variance at the end: the map from noise to sample is affine, so two points fix it."""
    sigmas = sigmas_for(denoiser.reference.schedule, spacing)
    ends = torch.stack([torch.zeros(denoiser.reference.channels), torch.ones(denoiser.reference.channels)]).double()
    at_0, at_1 = sample_ddim(denoiser, sigmas[0] * ends[..., None, None], sigmas).flatten(1)
    return at_0, (at_1 - at_0) ** 2


def test_the_closed_forms_give_the_worked_case():
    case = (MEANS, VARIANCES, COEFFICIENTS)
    assert product_moments(*case) == pytest.approx((-0.3816, 0.2449), abs=5e-5)
    assert ode_moments(*case) == pytest.approx((-0.0624, 0.1200), abs=5e-5)
    assert sde_moments(*case) == pytest.approx((-0.1816, 0.1976), abs=5e-5)


def test_ddim_reaches_the_closed_form_of_the_ode():
    mean, variance = moments_of_the_ode(product())
    assert mean.item() == pytest.approx(-0.0624, abs=0.004)
    assert variance.item() == pytest.approx(0.1200, abs=0.003)


def test_ddim_errs_in_the_first_order_and_extrapolates_to_the_closed_form():
    (coarse_mean, coarse_variance), (mean, variance) = (moments_of_the_ode(product(), n) for n in ("500", "1000"))
    assert (2 * mean - coarse_mean).item() == pytest.approx(-0.0624, abs=3e-4)
    assert (2 * variance - coarse_variance).item() == pytest.approx(0.1200, abs=3e-4)


def test_both_stochastic_samplers_reach_the_closed_form_of_the_sde():
    schedule = wide_schedule(0.02, 100)
    denoiser, respacing = product(schedule=schedule), Respacing(schedule, "800")
    noise = torch.randn(10_000, 1, 1, 1, dtype=torch.float64) * respacing.sigmas[-1]
    generator = torch.Generator().manual_seed(0)
    for x0 in (
        sample_ddpm(denoiser, noise, respacing, generator=generator),
        sample_ddim(denoiser, noise, [*reversed(respacing.sigmas.tolist()), 0.0], eta=1.0, generator=generator),
    ):
        assert x0.mean().item() == pytest.approx(-0.1816, abs=0.012)
        assert x0.var().item() == pytest.approx(0.1976, abs=0.01)


def test_the_ode_is_exact_for_equal_covariances():
    variances = torch.full((3,), 0.5, dtype=torch.float64)
    mean, variance = moments_of_the_ode(product(variances=variances))
    expected = product_moments(MEANS, variances, COEFFICIENTS)
    assert ode_moments(MEANS, variances, COEFFICIENTS) == pytest.approx(expected, abs=1e-6)
    assert (mean.item(), variance.item()) == pytest.approx(expected, abs=0.006)


def test_the_ode_is_exact_for_experts_that_differ_from_the_null_on_disjoint_coordinates():
    means = torch.tensor([[-1, 0.2], [0.1, 1.5], [0.1, 0.2]], dtype=torch.float64)
    variances = torch.tensor([[0.3, 2], [1, 0.8], [1, 2]], dtype=torch.float64)
    mean, variance = moments_of_the_ode(product(means, variances))
    # Each coordinate is left to the expert that knows something about it.
    torch.testing.assert_close(mean, torch.tensor([-1, 1.5], dtype=torch.float64), atol=0.008, rtol=0)
    torch.testing.assert_close(variance, torch.tensor([0.3, 0.8], dtype=torch.float64), atol=0.008, rtol=0)


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
