"""Gaussian experts written on the linear and on the cosine schedule, united in ComfyUI: the answer of one schedule.

The schedules end at σ = 157 and σ = 20291, so runs on the cosine schedule's levels start far above the other's.
"""

from types import SimpleNamespace

import pytest
import torch

MEANS, VARIANCES = [-0.8, 0.9, 0.2], [0.3, 0.8, 1.5]
MIXED = [("linear", "cosine"), ("cosine", "linear")]


class GaussianNetwork(torch.nn.Module):
    """Predicts x0 of data N(μ_k, s_k) exactly, told nothing but x_t, t and k."""

    def __init__(self, config, schedule, prediction):
        super().__init__()
        self.config, self.schedule, self.prediction = config, schedule, prediction
        self.moments = torch.nn.Parameter(torch.tensor([MEANS, VARIANCES]), requires_grad=False)

    def forward(self, x_t, t, *, labels, context=None, text_active=False):
        alpha_t, sigma_t = (factor[:, None, None, None] for factor in self.schedule.alpha_sigma(t))
        mean, variance = self.moments[:, labels, None, None, None]
        x0 = mean + variance * alpha_t / (variance * alpha_t**2 + sigma_t**2) * (x_t - alpha_t * mean)
        eps = (x_t - alpha_t * x0) / sigma_t
        return eps if self.prediction == "eps" else alpha_t * eps - sigma_t * x0


@pytest.fixture
def gaussian(core, host):
    """A Gaussian expert as a MODEL, with condition k and null 2."""

    def build(k, schedule, prediction="eps"):
        schedule = core.Schedule.named(schedule)
        encoder = core.conditions.ClassEncoder(torch.zeros(len(MEANS), 1), 32)
        expert = core.Expert(
            GaussianNetwork(core.UNetConfig(), schedule, prediction),
            schedule,
            core.PREDICTIONS[prediction],
            image_size=32,
            encoder=encoder,
            clamp_x0=False,
        )
        condition, null = (
            host.conditioning.to_conditioning(encoder.encode_class(label), encoder.key) for label in (k, 2)
        )
        return SimpleNamespace(model=host.pixel_model.expert_to_model(expert), condition=condition, null=null)

    return build


@pytest.fixture
def sampled(gaussian, chain, guide, host):
    """Sample two experts on these schedules."""

    def run(schedules, sampler, sigmas, predictions=("eps", "eps")):
        experts = [gaussian(k, *of) for k, of in enumerate(zip(schedules, predictions, strict=True))]
        sampler = host.ddim_sampler.sample_comfy_ddim if sampler == "MCDM" else sampler
        return guide(chain(*experts), sampler, sigmas=sigmas)

    return run


@pytest.fixture
def levels(gaussian, node):
    """Noise levels of a schedule's own timesteps."""
    return lambda schedule: node("MCDM_Sigmas", model=gaussian(0, schedule).model, spacing="40", denoise=1.0)[
        0
    ].tolist()


@pytest.mark.parametrize("sampler", ["MCDM", "euler"])
@pytest.mark.parametrize("predictions", [("eps", "v"), ("v", "eps")], ids="-".join)
@pytest.mark.parametrize("schedules", MIXED, ids="-".join)
def test_a_whole_run(sampled, levels, schedules, predictions, sampler):
    sigmas = levels(schedules[0])
    single = sampled(("cosine", "cosine"), sampler, sigmas)
    torch.testing.assert_close(sampled(schedules, sampler, sigmas, predictions), single, atol=1e-3, rtol=0)
    assert single.std() > 0.1


@pytest.mark.parametrize("sampler", ["MCDM", "euler", "heun"])
@pytest.mark.parametrize("schedules", [*MIXED, ("linear", "linear")], ids="-".join)
def test_levels_above_what_an_expert_knows(sampled, schedules, sampler):
    """Whichever is first, it is asked at the highest level that it knows."""
    sigmas = [20_000 * 1e-6 ** (i / 40) for i in range(40)] + [0.0]
    single = sampled(("cosine", "cosine"), sampler, sigmas)
    torch.testing.assert_close(sampled(schedules, sampler, sigmas), single, atol=1e-3, rtol=0)
