"""Logic of experts: ancestral samples of AND, OR and NOT of their densities, which are tracked along the way.

References:
    Skreta et al., "The Superposition of Diffusion Models Using the Itô Density Estimator", ICLR 2025 (arXiv
    2412.17762). `Logic` says how densities are combined.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..diffusion.schedule import levels_of
from ..product.methods.logic import HARMONIC, Logic
from .ddpm import ddpm_mean, posterior_variance
from .densities import Step, TrackedDensities
from .noise import noise_like
from .types import Callback, Denoiser, TermsDenoiser


@torch.no_grad()
def sample_logic(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    logic: Logic = HARMONIC,
    area: Tensor | None = None,
) -> Tensor:
    """Sample ancestrally, as `sample_ddpm`, from a logic of the experts' densities instead of their product.

    One expert alone gives the samples of `sample_ddpm`, to the bit. Outside its window an expert's density is taken to
    change as the combined one does.

    Args:
        denoiser: Predicts x0, also by each expert alone; a `TermsDenoiser`, as every product is.
        x: Start, x0 + sigmas[0]·n, shape (B, …). There all experts are equally likely.
        sigmas: Descending noise levels, the last one usually 0; one network evaluation for each but the last.
        generator: Source of the noise and of the resampling; drawn on the generator's device.
        callback: See `Callback`.
        logic: How densities are combined.
        area: How much each value counts in densities, 0…1, broadcasts to the sample.

    Returns:
        Samples at the last noise level, shape of x.

    Raises:
        ValueError: If the denoiser does not show its experts, no expert of positive weight acts, or a prediction is
            not finite.
    """
    if not isinstance(denoiser, TermsDenoiser):
        raise ValueError(
            "Expected a product of experts, whose densities are tracked one by one, and got a "
            f"{type(denoiser).__name__} without `with_terms`; use another sampler, ddpm for example."
        )
    densities = TrackedDensities(logic, x, area)
    levels = levels_of(sigmas)
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        move = Step(sigma, sigma_next)
        denoised, terms = denoiser.with_terms(x, sigma, densities.weigh)
        if callback is not None:
            callback(step, sigma, denoised)
        x = ddpm_mean(x, denoised, sigma, sigma_next)
        shifts = {i: move.mean_gain * (x0 - denoised) for i, x0 in terms.items()}  # m_i − m_r
        if sigma_next > 0:
            added = math.sqrt(posterior_variance(sigma, sigma_next)) * noise_like(x, generator)
            x = x + added
            densities.follow(added, shifts, move)
    return x
