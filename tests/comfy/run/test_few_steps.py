"""Models made for few steps at cfg 1 (Lightning, Turbo, LCM): weights that sum to 1, core's sampling, no negative."""

from dataclasses import replace

import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

import nodes

from ..support.oracle.guider import BruteForceGuider

STEPS, SEED = 4, 5
FEW = [(sampler, scheduler) for sampler in ("euler", "lcm") for scheduler in ("sgm_uniform", "simple")]
LATENT = {"samples": torch.zeros(2, 4, 8, 12)}
KINDS = ("plain", "LoRA")


@pytest.fixture
def draw(chain, sample):
    """Sample experts by Product-of-Experts KSampler in four steps; returns the latents."""

    def run(experts, sampler, scheduler):
        chained = chain(*((expert, vars(expert)) for expert in experts))
        return sample(chained, LATENT, sampler, STEPS, SEED, scheduler=scheduler)

    return run


def shared_out(experts, shares=(0.25, 0.75)):
    """Experts with weights that sum to 1."""
    return [replace(expert, weight=share) for expert, share in zip(experts, shares, strict=True)]


def as_lcm(expert):
    """An expert whose MODEL is read as an LCM's, by core's node."""
    return replace(expert, model=ModelSamplingDiscrete().patch(expert.model, "lcm", False)[0])


@pytest.mark.one_of(4)
@pytest.mark.parametrize("made", [lambda expert: expert, as_lcm], ids=["as trained", "ModelSamplingDiscrete lcm"])
@pytest.mark.parametrize(("sampler", "scheduler"), FEW)
def test_shares_of_one_model_and_prompt_draw_what_core_draws_at_cfg_1(
    cast, draw, assert_agree, sampler, scheduler, made
):
    expert = made(cast.expert("eps", "plain", 0))
    settings = (SEED, STEPS, 1.0, sampler, scheduler, expert.condition, expert.null, LATENT)
    (theirs,) = nodes.common_ksampler(expert.model, *settings)
    assert_agree(draw(shared_out([replace(expert, null=None)] * 2), sampler, scheduler), theirs["samples"])


@pytest.mark.one_of(4)
@pytest.mark.parametrize(("sampler", "scheduler"), FEW)
def test_two_models_without_negatives_draw_the_mean_of_their_predictions(casts, draw, assert_agree, sampler, scheduler):
    ours, theirs = (shared_out([cast.expert("eps", kind, at) for at, kind in enumerate(KINDS)]) for cast in casts)
    sampling = theirs[0].model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, scheduler, STEPS)
    noise = torch.randn(LATENT["samples"].shape, generator=torch.manual_seed(SEED))
    expected = BruteForceGuider(theirs).sample(
        noise, LATENT["samples"], comfy.samplers.sampler_object(sampler), sigmas, disable_pbar=True, seed=SEED
    )
    assert_agree(draw([replace(expert, null=None) for expert in ours], sampler, scheduler), expected.cpu())


@pytest.mark.parametrize(("sampler", "scheduler"), FEW)
def test_no_negative_is_asked_also_where_one_is_connected(cast, draw, sampler, scheduler):
    experts, asked = shared_out([cast.expert("eps", kind, at) for at, kind in enumerate(KINDS)]), []
    networks = {expert.model.model.diffusion_model for expert in experts}

    def note(network, args, kwargs):
        asked.extend(kwargs["transformer_options"]["cond_or_uncond"])

    hooks = [network.register_forward_pre_hook(note, with_kwargs=True) for network in networks]
    try:
        draw(experts, sampler, scheduler)
    finally:
        for hook in hooks:
            hook.remove()
    assert asked == [0] * STEPS * len(experts)
