"""Langevin corrections between the steps of a ComfyUI SAMPLER."""

from __future__ import annotations

import functools

import comfy.samplers
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ....mcdm_core.sampling.langevin import check_langevin, langevin_step
from ....mcdm_core.sampling.noise import noise_like
from ..comfyui.step_reports import at_step
from .ddim import sample_comfy_ddim
from .functions import Sampling, sampler_function

# ComfyUI's samplers that keep nothing between steps and use no noise level beyond the next.
STEPWISE = (
    *("euler", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"),
    *("dpmpp_sde_gpu", "ddpm", "lcm", "exp_heun_2_x0", "exp_heun_2_x0_sde", "seeds_2", "seeds_3"),
    *("euler_cfg_pp", "euler_ancestral_cfg_pp", "dpmpp_2s_ancestral_cfg_pp"),
)
_FUNCTIONS = {f"sample_{name}" for name in STEPWISE} | {sample_comfy_ddim.__name__}


def langevin_sampler(sampler: comfy.samplers.Sampler, corrections: int, ratio: float) -> comfy.samplers.Sampler:
    """A SAMPLER that corrects another sampler's samples after each of its steps.

    Args:
        sampler: The other sampler.
        corrections: K, number of corrections at each level; 0 gives the sampler itself.
        ratio: r of the core's `langevin_step`.

    Raises:
        ValueError: If a number is out of range, or the sampler remembers earlier steps.
    """
    check_langevin(corrections, ratio)
    if corrections == 0:
        return sampler
    function = getattr(sampler, "sampler_function", None)
    name = getattr(function, "__name__", type(sampler).__name__)
    if name not in _FUNCTIONS:
        raise ValueError(not_stepwise(name.removeprefix("sample_")))
    corrected = functools.partial(_sample, sampler=sampler, corrections=corrections, ratio=ratio)
    return comfy.samplers.KSAMPLER(corrected, inpaint_options=sampler.inpaint_options)


def not_stepwise(name: str) -> str:
    """The error message for a sampler that cannot be corrected."""
    return (
        "Expected a sampler that takes each step by itself, such as euler, heun or dpm_2, and got "
        f"{name}, which may remember earlier steps; choose one of those, or set corrections to 0."
    )


@sampler_function
def _sample(run: Sampling, *, sampler: comfy.samplers.KSAMPLER, corrections: int, ratio: float) -> Tensor:
    x, sigmas, form = run.x, run.sigmas, run.form
    generator = run.generator(2)  # offset 1 is the samplers' own noise
    for step in tqdm(range(len(sigmas) - 1), disable=run.disable):
        # A new seed for each step, since the sampler seeds its own generator at each call.
        seed = int(torch.randint(2**62, (), generator=generator))
        x = sampler.sampler_function(
            run.model,
            x,
            sigmas[step : step + 2],
            extra_args={**run.extra_args, "seed": seed},
            callback=at_step(run.callback, step),
            disable=True,
            **sampler.extra_options,
        )
        sigma = float(sigmas[step + 1])
        for _ in range(corrections if sigma > 0 else 0):
            denoised = run.denoised(x, sigma)
            noise = noise_like(x, generator)
            x = langevin_step(x, denoised, form.noise_scale * sigma, ratio, noise, form.signal_scale(sigma))
    return x
