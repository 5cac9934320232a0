"""What a run of several latent spaces refuses before any network is called, in a sentence of its own."""

import pytest
import torch

SIGMAS = torch.tensor([8.0, 2.0, 0.0])
LOGIC = {"operation": "or", "sharpness": 1.0, "prior": 0.5, "largest": 2.0, "corrected": False}
LOGIC |= {"resample_below": 0.5, "limit": 1.0}


@pytest.fixture
def experts(chain, load, load_latent):
    """One on latents, one on pixels, with their VAEs."""
    return chain(*((expert, {"vae": expert.vae}) for expert in (load_latent("hair"), load("skin"))))


def sampled(node, experts, sampler="euler", sigmas=SIGMAS, noised=True, **guider):
    """A run over these noise levels; a sampler is a name of ComfyUI's, or a SAMPLER."""
    import comfy.samplers

    if isinstance(sampler, str):
        sampler = comfy.samplers.sampler_object(sampler)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = noise if noised else torch.zeros_like(noise)
    (found,) = node("MCDM_Guider", experts=experts, **guider)
    return found.sample(noise, torch.zeros_like(noise), sampler, sigmas, seed=1)


REFUSED = {
    "particles": (
        lambda node, e: sampled(node, e, node("MCDM_ParticleSampler", resample_below=0.5, limit=1.0)[0]),
        "one latent space for Particle Sampler, .*; choose another sampler",
    ),
    "logic": (
        lambda node, e: sampled(node, e, node("MCDM_Logic", **LOGIC)[0]),
        "one latent space for Logic Sampler, .*; choose another sampler",
    ),
    "scores": (lambda node, e: sampled(node, e, scores=True), "one latent space for scores, .*; turn them off"),
    "a choice": (
        lambda node, e: node("MCDM_Choose", experts=e, samples=latent(), count=1, levels=2, seed=1),
        "one latent space for Choose Samples, .*; choose by eye",
    ),
    "CFG++": (lambda node, e: sampled(node, e, "euler_cfg_pp"), "unconditional estimate, .*; choose another sampler"),
    "the first half": (lambda node, e: sampled(node, e, sigmas=SIGMAS[:2]), "removes all of it, .*; sample in one go"),
    "no noise": (lambda node, e: sampled(node, e, noised=False), "adds its own noise .*; sample in one go"),
}


def latent():
    return {"samples": torch.zeros(2, 4, 8, 8)}


@pytest.fixture
def passes(experts):
    """A list that grows by one with every pass of a network."""
    found = []
    networks = [expert.model.model.diffusion_model for expert in experts]
    handles = [network.register_forward_hook(lambda *_: found.append(1)) for network in networks]
    yield found
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("case", REFUSED)
def test_what_spaces_do_not_share_is_refused_before_any_pass(node, experts, passes, case):
    run, match = REFUSED[case]
    with pytest.raises(ValueError, match=match):
        run(node, experts)
    assert not passes


def test_the_same_experts_are_sampled_without_it(node, experts, passes):
    assert sampled(node, experts).isfinite().all()
    assert passes
