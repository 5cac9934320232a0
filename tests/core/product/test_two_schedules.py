"""Gaussian experts written on the linear and on the cosine schedule, united: the answer of a single schedule (§7.2).

The schedules end at σ = 157 and σ = 20291, so runs on the cosine schedule's levels start far above the other's.
"""

import math

import pytest
import torch

from mcdm_core import ProductDenoiser, Schedule, Term, sample_ddim, sample_ddpm, sample_product, sigmas_for
from studies.gaussian import gaussian_expert, label

MEANS, VARIANCES = [-0.8, 0.9, 0.2], [0.3, 0.8, 1.5]
SCHEDULES = {"linear": Schedule.linear(), "cosine": Schedule.cosine()}
MIXED = [("linear", "cosine"), ("cosine", "linear")]
NOISE = torch.randn(500, 1, 1, 1, generator=torch.Generator().manual_seed(1))


def united(names, predictions=("eps", "eps")) -> list[Term]:
    """Two experts, each guided by its own condition and with a null of its own."""
    experts = [
        gaussian_expert(MEANS, VARIANCES, SCHEDULES[name], prediction)
        for name, prediction in zip(names, predictions, strict=True)
    ]
    return [Term(expert, label(index), label(2), weight=1.5) for index, expert in enumerate(experts)]


SINGLE = ProductDenoiser(united(("cosine", "cosine")))


@pytest.mark.one_of(2)
@pytest.mark.parametrize("spacing", ["100", "ddim25"])
@pytest.mark.parametrize("predictions", [("eps", "v"), ("v", "eps")], ids="-".join)
@pytest.mark.parametrize("names", MIXED, ids="-".join)
def test_a_whole_run(names, predictions, spacing):
    sigmas = sigmas_for(SCHEDULES[names[0]], spacing)
    mixed = sample_product(united(names, predictions), NOISE, spacing)
    single = sample_ddim(SINGLE, NOISE * math.hypot(1, sigmas[0]), sigmas)
    torch.testing.assert_close(mixed, single, atol=1e-3, rtol=0)


@pytest.mark.parametrize("names", [*MIXED, ("linear", "linear")], ids="-".join)
def test_levels_above_what_an_expert_knows(names):
    """Whichever is first, it is asked at the highest level that it knows."""
    sigmas = [20_000 * 1e-6 ** (i / 60) for i in range(60)] + [0.0]
    mixed = sample_ddim(ProductDenoiser(united(names)), NOISE * sigmas[0], sigmas)
    torch.testing.assert_close(mixed, sample_ddim(SINGLE, NOISE * sigmas[0], sigmas), atol=1e-3, rtol=0)


@pytest.mark.parametrize("names", MIXED, ids="-".join)
def test_an_ancestral_run(names):
    sigmas = sigmas_for(SCHEDULES[names[0]], "50")
    start = NOISE * sigmas[0]
    mixed, single = (
        sample_ddpm(denoiser, start, sigmas, generator=torch.Generator().manual_seed(3))
        for denoiser in (ProductDenoiser(united(names)), SINGLE)
    )
    torch.testing.assert_close(mixed, single, atol=1e-3, rtol=0)
