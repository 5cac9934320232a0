"""Langevin corrections between the steps of any sampler that takes each step by itself.

Du et al., "Reduce, Reuse, Recycle: Compositional Generation with Energy-Based Diffusion Models and MCMC", 2023; Bradley
& Nakkiran, "Classifier-Free Guidance is a Predictor-Corrector", 2024 (arXiv:2408.09000). At every level a few steps of
Langevin dynamics pull the samples towards the product of the noised densities, which the sampler's steps miss.
"""

import functools
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..product.windows import levels_of
from .ddim import sample_ddim
from .logic import sample_logic
from .noise import noise_like
from .particles import sample_particles
from .types import Callback, Denoiser, Sampler

_STATEFUL = (sample_particles, sample_logic)  # they weigh samples by all earlier steps


def langevin_step(x: Tensor, denoised: Tensor, sigma: float, ratio: float, noise: Tensor, alpha: float = 1.0) -> Tensor:
    """One step of Langevin dynamics at a noise level: x + δ·score + √(2δ)·z with δ = r σ² and score (α D − x)/σ².

    Args:
        x: α·x0 + σ·n, shape (B, …).
        denoised: Prediction D of x0, shape of x.
        sigma: σ, above 0.
        ratio: r, the step as a share of σ², 0…1.
        noise: z, standard normal, shape of x.
        alpha: α; 1 in the variance-exploding form, 1 − σ of a rectified flow.

    Returns:
        Sample at the same noise level, shape of x.
    """
    return x + ratio * (alpha * denoised - x) + math.sqrt(2 * ratio) * sigma * noise


def check_langevin(corrections: int, ratio: float) -> None:
    """Refuse corrections that cannot be made.

    Args:
        corrections: K.
        ratio: r.

    Raises:
        ValueError: If K is negative, or r isn't above 0 and at most 1.
    """
    if corrections < 0:
        raise ValueError(f"Expected 0 or more corrections at each level and got {corrections}; set 0 to make none.")
    if not 0 < ratio <= 1:  # NaN as well
        raise ValueError(f"Expected a ratio above 0 and at most 1 and got {ratio:g}; set one, such as 0.1.")


def check_stepwise(sampler: Sampler) -> None:
    """Refuse to correct a sampler that keeps state between steps, which calls of one step each would lose.

    Args:
        sampler: The sampler, also with options bound by `functools.partial`.

    Raises:
        ValueError: If it keeps weights or densities of the samples from step to step.
    """
    function = sampler.func if isinstance(sampler, functools.partial) else sampler
    if function in _STATEFUL:
        raise ValueError(
            "Expected a sampler that takes each step by itself, such as ddim or ddpm, to correct and got "
            f"{function.__name__.removeprefix('sample_')}, which weighs samples by all steps before; choose one of "
            "those, or set corrections to 0."
        )


@torch.no_grad()
def sample_langevin(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    sampler: Sampler = sample_ddim,
    corrections: int = 1,
    ratio: float = 0.1,
) -> Tensor:
    """Sample with another sampler, and correct the samples at each level that it reaches.

    Args:
        denoiser: Predicts x0.
        x: Start, x0 + sigmas[0]·n, shape (B, …).
        sigmas: Descending noise levels, the last one usually 0. Each level reached but 0 costs K network evaluations
            beside the sampler's own.
        generator: Source of the noise, the sampler's and the corrections'; drawn on the generator's device.
        callback: See `Callback`.
        sampler: Takes the steps; it may keep no state between them.
        corrections: K, how many at each level; 0 is the sampler itself.
        ratio: r of `langevin_step`.

    Returns:
        Sample at the last noise level, shape of x.

    Raises:
        ValueError: As `check_langevin`; or as `check_stepwise`, if corrections are to be made.
    """
    check_langevin(corrections, ratio)
    if corrections == 0:
        return sampler(denoiser, x, sigmas, generator=generator, callback=callback)
    check_stepwise(sampler)
    levels = levels_of(sigmas)
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        x = sampler(denoiser, x, (sigma, sigma_next), generator=generator, callback=_at_step(callback, step))
        for _ in range(corrections if sigma_next > 0 else 0):
            denoised = denoiser(x, sigma_next)
            if callback is not None:
                callback(step, sigma_next, denoised)
            x = langevin_step(x, denoised, sigma_next, ratio, noise_like(x, generator))
    return x


def _at_step(callback: Callback | None, step: int) -> Callback | None:
    """A callback for a sampler that runs one step alone: reports that step's index in the whole run."""
    return None if callback is None else lambda _, sigma, denoised: callback(step, sigma, denoised)
