"""Small runs of small networks, for tests that compare them with one another and with brute force."""

import comfy.samplers
import torch

from .oracle.core_guiders import sample_by_core_guiders

SEED = 3


@torch.no_grad()
def sampled(guider, sampler="euler", steps=3, shape=(2, 4, 8, 12), sigmas=None, latent=0.0, seed=SEED, **more):
    """What a guider makes of noise.

    Args:
        guider: The product's, core's or the oracle's.
        sampler: As `sampler_of` takes it.
        steps: Of ComfyUI's normal schedule.
        shape: Of the latents.
        sigmas: Noise levels in place of that schedule's.
        latent: The value that is everywhere in what the run starts from.
        seed: Of the run.
        **more: Of the run, such as `denoise_mask`.
    """
    noise, usual = _start_of(guider.model_patcher, steps, shape)
    start, levels = torch.full_like(noise, latent), usual if sigmas is None else torch.as_tensor(sigmas)
    return guider.sample(noise, start, sampler_of(sampler), levels, disable_pbar=True, seed=seed, **more)


def sampler_of(sampler):
    """A SAMPLER, given as it is, by its name in ComfyUI or by its function."""
    if isinstance(sampler, str):
        return comfy.samplers.sampler_object(sampler)
    return sampler if isinstance(sampler, comfy.samplers.Sampler) else comfy.samplers.KSAMPLER(sampler)


def sampled_by_core(experts, steps=3, shape=(2, 4, 8, 12)):
    """What core's own guiders make of the same noise, one run in another's, by Euler's steps."""
    return sample_by_core_guiders(experts, *_start_of(experts[0].model, steps, shape))


def _start_of(model, steps, shape):
    """Noise and noise levels."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))
    return noise, comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
