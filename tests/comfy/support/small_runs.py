"""Small runs of small networks, for tests that compare them with one another and with brute force."""

import comfy.samplers
import torch

from .oracle.networks import network


def equal_models():
    """MODELs for the product, and equal ones for brute force that share nothing with them."""

    def make():
        return {name: network(name, seed) for seed, name in enumerate(("eps", "v", "flow"), start=1)}

    return make(), make()


@torch.no_grad()
def sampled(guider, steps, sampler_name="euler"):
    """Two latents, sampled with a guider."""
    noise = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(3))
    schedule = guider.model_patcher.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(schedule, "normal", steps)
    sampler = comfy.samplers.sampler_object(sampler_name)
    return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=3)
