"""Gaussian experts as noise predictors and as rectified flows whose noise is scaled, united in ComfyUI.

Their x0 in closed form tells whether they meet at one noise level, and what Fewer Passes and Logic make of flows.
"""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from comfy.latent_formats import ChromaRadiance
from comfy.model_base import ModelType

from ...support.fewer_passes import Remembering, factor, sample_heun, unguided
from ..support.cases import PLAIN_PASSES
from ..support.families.sized_noise import SizedFlow
from ..support.places import around, placed

MEANS, VARIANCES = [-0.8, 0.9, 0.2], [0.3, 0.8, 1.5]


class GaussianNetwork(torch.nn.Module):
    """Predicts the noise of data N(μ_k, s_k) exactly, told nothing but x_t, t and k."""

    def __init__(self, config, schedule):
        super().__init__()
        self.config, self.schedule = config, schedule
        self.moments = torch.nn.Parameter(torch.tensor([MEANS, VARIANCES]), requires_grad=False)

    def forward(self, x_t, t, *, labels, context=None, text_active=False):
        alpha_t, sigma_t = (factor[:, None, None, None] for factor in self.schedule.alpha_sigma(t))
        mean, variance = self.moments[:, labels, None, None, None]
        x0 = mean + variance * alpha_t / (variance * alpha_t**2 + sigma_t**2) * (x_t - alpha_t * mean)
        return (x_t - alpha_t * x0) / sigma_t


@pytest.fixture
def gaussian(core, host):
    """A Gaussian expert as a MODEL, with condition k and null 2."""

    def build(k):
        schedule = core.Schedule.named("cosine")
        encoder = core.conditions.ClassEncoder(torch.zeros(len(MEANS), 1), 32)
        expert = core.Expert(
            GaussianNetwork(core.UNetConfig(), schedule),
            schedule,
            core.PREDICTIONS["eps"],
            image_size=32,
            encoder=encoder,
            clamp_x0=False,
        )
        condition, null = (
            host.files.conditioning.to_conditioning(encoder.encode_class(label), encoder.key) for label in (k, 2)
        )
        return SimpleNamespace(model=host.files.expert_model.expert_to_model(expert), condition=condition, null=null)

    return build


class GaussianFlow(torch.nn.Module):
    """Predicts the velocity of data N(μ, s) in the form (1 − σ)·x0 + k·σ·n exactly; the tokens are μ and s."""

    dtype = torch.float32

    def __init__(self, noise_scale):
        super().__init__()
        self.noise_scale = noise_scale

    def forward(self, x_t, t, context=None, control=None, transformer_options=None, **kwargs):
        sigma, (mean, variance) = t.reshape(-1, 1, 1, 1) / 1000, context[:, :, :1, None].unbind(1)
        mean, variance = mean[:, None], variance[:, None]
        alpha, noise = 1 - sigma, self.noise_scale * sigma
        x0 = mean + variance * alpha / (variance * alpha**2 + noise**2) * (x_t - alpha * mean)
        return (x_t - x0) / sigma


@pytest.fixture
def gaussian_flow(pack):
    """A Gaussian expert as a flow model in the space of the pixel experts, with condition k and null 2.

    Where its noise is scaled by the size of pictures, only `noise_scaling` tells by how much.
    """

    def build(k, noise_scale, by_size=False):
        sampling = {} if by_size else {"noise_scale": noise_scale}
        model = around(GaussianFlow(noise_scale), ChromaRadiance, ModelType.FLOW, **sampling)
        if by_size:
            model.model_sampling = SizedFlow(model.model_config)
        tokens = [[[torch.tensor([[[MEANS[i]], [VARIANCES[i]]]]), {}]] for i in (k, 2)]
        return SimpleNamespace(model=placed(model), condition=tokens[0], null=tokens[1])

    return build


@pytest.mark.parametrize("by_size", [False, True], ids=["", "by the size"])
@pytest.mark.parametrize("scales", [(8.0, 1.0), (1.0, 8.0), (8.0, 8.0), (8.0, None), (None, 8.0)], ids=str)
def test_flows_whose_noise_is_scaled_meet_the_others(gaussian, gaussian_flow, chain, guide, scales, by_size):
    """None is a pixel expert in the variance-exploding form; the noise of the run is `guide`'s, whose size gives 8."""
    weights, reliabilities = (1.5, 2.0), (1.0, 3.0)
    experts = [
        gaussian(k) if s is None else gaussian_flow(k, s, by_size=by_size and s == 8.0) for k, s in enumerate(scales)
    ]
    settings = [{"weight": w, "reliability": a} for w, a in zip(weights, reliabilities, strict=True)]
    sigma = 3.0 if scales[0] is None else 0.6
    level = sigma if scales[0] is None else scales[0] * sigma / (1 - sigma)
    x = level * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)).double()

    def x0(k):
        return MEANS[k] + VARIANCES[k] / (VARIANCES[k] + level**2) * (x - MEANS[k])

    expected = sum(w * (x0(k) - x0(2)) for k, w in enumerate(weights)) + x0(2)
    found = guide(chain(*zip(experts, settings, strict=True)), sigmas=(sigma, 0.0))
    torch.testing.assert_close(found.double(), expected, atol=2e-4, rtol=0)


def test_a_whole_run_on_scaled_noise(gaussian_flow, chain, guide):
    sigmas = [1.0, 0.98, 0.9, 0.7, 0.4, 0.1, 0.0]
    mixed, single = (
        guide(chain(*(gaussian_flow(k, s) for k, s in enumerate(scales))), sigmas=sigmas)
        for scales in ((8.0, 1.0), (8.0, 8.0))
    )
    torch.testing.assert_close(mixed, single, atol=1e-3, rtol=0)
    assert single.std() > 0.05


def sample_cfg_pp(both, x, sigmas):
    """CFG++ of a flow: a step goes to x0, with the noise that U leaves of x."""
    for sigma, following in pairwise(sigmas):
        x0, u = both(x, sigma)
        x = (1 - following) * x0 + following * (x - (1 - sigma) * u) / sigma
    return x


PLAIN_SAMPLERS = {
    "heun": lambda both, *run: sample_heun(lambda *at: both(*at)[0], *run),
    "euler_cfg_pp": sample_cfg_pp,
}
POLICIES = {"all": {"end": 0.65, "threshold": -1.0, "refresh": 2}, "adaptive null": {"threshold": -1.0, "refresh": 3}}


@pytest.mark.one_of(2)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("sampler", PLAIN_SAMPLERS)
def test_fewer_passes_of_flows(gaussian_flow, chain, node, guide, passes, policy, sampler):
    """A curve, an interval and what nulls stand in for are of flows' noise levels; CFG++ takes U outside it, too."""
    weights, curve, settings = (1.5, 2.0), [(0.0, 0.5), (0.5, 1.5), (1.0, 1.0)], {**PLAIN_PASSES, **POLICIES[policy]}
    sigmas = [1.0, 0.98, 0.9, 0.7, 0.4, 0.3, 0.1, 0.0]
    memory = Remembering(sigmas, settings["threshold"], settings["refresh"])

    def both(x, sigma):
        own, alpha = zip(MEANS, VARIANCES, strict=True), 1 - sigma
        x0 = [m + v * alpha / (v * alpha**2 + sigma**2) * (x - alpha * m) for m, v in own]
        acting, nulls = [weights[0], weights[1] * factor(curve, 1 - sigma)], {0: x0[2], 1: x0[2]}
        if 1 - sigma > settings["end"]:
            acting, nulls = unguided(acting), nulls if sampler == "euler_cfg_pp" else {}
        noise = sigma / alpha if alpha else float("inf")
        cond, nulls = memory.call(sigma, noise, {0: x0[0], 1: x0[1]}, nulls, {0: 0, 1: 1})
        u = sum(nulls.values()) / 2 if nulls else 0.0
        return u + sum(w * (cond[k] - u) for k, w in enumerate(acting)), u

    experts = chain(*((passes.watch(gaussian_flow(k, 1.0)), {"weight": w}) for k, w in enumerate(weights)))
    curved = {"weight_curve": "0: 0.5, 0.5: 1.5, 1: 1", "sigma_start": 0.0, "sigma_end": 0.0}
    experts = node("MCDM_Passes", experts=node("MCDM_Schedule", experts=experts, **curved)[0], **settings)[0]
    noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)).double()
    expected = PLAIN_SAMPLERS[sampler](both, noise, sigmas)
    torch.testing.assert_close(guide(experts, sampler, sigmas=sigmas).double(), expected, atol=1e-3, rtol=0)
    assert sum(call.rows for call in passes.found) == sum(memory.asked) < 4 * len(memory.asked)


LEVELS = [100.0 * 3e-4 ** (i / 99) for i in range(100)]


@pytest.fixture
def pixels(node):
    """Sample pictures of one pixel of a chain, whose three values are samples each."""

    def run(experts, sampler, count, sigmas):
        (guider,) = node("MCDM_Guider", experts=experts)
        noise = torch.randn(count, 3, 1, 1, generator=torch.Generator().manual_seed(4))
        zero = torch.zeros_like(noise)
        return guider.sample(noise, zero, sampler, torch.tensor(sigmas), seed=4, disable_pbar=True).double()

    return run


def test_logic_learns_how_noise_is_scaled_from_what_becomes_of_it(gaussian_flow, chain, node, pixels):
    """As from a number that says it, to the bit; k of a picture of one pixel is 0.25."""
    (sampler,) = node("MCDM_Logic", operation="or", sharpness=1.0, prior=0.5, largest=1.0)
    levels = [1.0, *(level / (0.25 + level) for level in LEVELS[::10]), 0.0]

    def run(by_size):
        experts = chain(*((gaussian_flow(k, 0.25, by_size), {"weight": 1.0}) for k in range(2)))
        return pixels(experts, sampler, 50, levels)

    assert torch.equal(run(by_size=True), run(by_size=False))


def test_or_of_gaussians_is_their_mixture(gaussian_flow, chain, node, pixels):
    """All three values of a picture are of one and the same expert; both have weight 1 and one null."""
    experts = chain(*((gaussian_flow(k, 1.0), {"weight": 1.0}) for k in range(2)))
    (sampler,) = node("MCDM_Logic", operation="or", sharpness=1.0, prior=0.5, largest=1.0)
    levels = [1.0, *(level / (1 + level) for level in LEVELS), 0.0]
    found = pixels(experts, sampler, 3000, levels).flatten(1)
    mixture = sum(MEANS[:2]) / 2, sum(v + m**2 for v, m in zip(VARIANCES[:2], MEANS[:2], strict=True)) / 2
    assert found.mean().item() == pytest.approx(mixture[0], abs=0.06)
    assert found.square().mean().item() == pytest.approx(mixture[1], rel=0.07)
    shared = ((found - found.mean(0)).T @ (found - found.mean(0)) / len(found)).triu(1)
    assert shared[shared != 0].mean().item() == pytest.approx(0.25 * (MEANS[1] - MEANS[0]) ** 2, rel=0.1)
