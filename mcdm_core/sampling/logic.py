"""Logic of experts: ancestral samples of AND, OR and NOT of their densities, which are tracked along the way.

References:
    Skreta et al., "The Superposition of Diffusion Models Using the Itô Density Estimator", ICLR 2025 (arXiv
    2412.17762); "Feynman-Kac Correctors in Diffusion", ICML 2025. `Logic` says how densities are combined.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from ..product.logic import EQUAL, HARMONIC, Logic
from ..product.windows import levels_of
from .ddpm import ddpm_mean, posterior_variance
from .densities import Step, TrackedDensities
from .noise import noise_like
from .particles import ParticleWeights, ResamplingReport
from .types import Callback, Denoiser, TermsDenoiser


def check_correction(logic: Logic, corrected: bool) -> None:
    """Refuse to correct samples of a logic for which no weights of particles are known.

    Args:
        logic: How densities are combined.
        corrected: Whether samples are to be corrected.

    Raises:
        ValueError: If `corrected` is set and densities are kept equal.
    """
    if corrected and logic.operation == EQUAL:
        raise ValueError(
            "Expected samples of and, or of or, to correct and got corrected ones of equal densities, for which no "
            "weights are known; turn the correction off, or choose and."
        )


@torch.no_grad()
def sample_logic(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    logic: Logic = HARMONIC,
    corrected: bool = False,
    resample_below: float = 0.5,
    limit: float = 1.0,
    area: Tensor | None = None,
    report: ResamplingReport | None = None,
) -> Tensor:
    """Sample ancestrally, as `sample_ddpm`, from a logic of the experts' densities instead of their product.

    One expert alone gives the samples of `sample_ddpm`, to the bit. Outside its window an expert's density is taken to
    change as the combined one does. Where densities are kept equal, the experts' weights depend on a step's noise.

    Args:
        denoiser: Predicts x0, also by each expert alone; a `TermsDenoiser`, as every product is.
        x: Start, x0 + sigmas[0]·n, shape (B, …). There all experts are equally likely.
        sigmas: Descending noise levels, the last one usually 0; one network evaluation for each but the last.
        generator: Source of the noise and of the resampling; drawn on the generator's device.
        callback: See `Callback`.
        logic: How densities are combined.
        corrected: Whether the samples are weighted and resampled as particles of one run (see `sample_particles`),
            which corrects the error of ancestral steps. OR with λ = 1 has no such error, with or without NOT below its
            largest value.
        resample_below: See `sample_particles`.
        limit: See `sample_particles`.
        area: How much each value counts in densities and weights, 0…1, broadcasts to the sample.
        report: Called with every step's `Resampling`, if `corrected`.

    Returns:
        Samples at the last noise level, shape of x.

    Raises:
        ValueError: If the denoiser does not show its experts, a number is out of range, no expert of positive weight
            acts, corrected samples are fewer than two or have no weights, or a prediction is not finite.
    """
    if not isinstance(denoiser, TermsDenoiser):
        raise ValueError(
            "Expected a product of experts, whose densities are tracked one by one, and got a "
            f"{type(denoiser).__name__} without `with_terms`; use another sampler, ddpm for example."
        )
    check_correction(logic, corrected)
    particles = ParticleWeights(len(x), resample_below, limit, generator, report) if corrected else None
    densities = TrackedDensities(logic, x, area)
    levels = levels_of(sigmas)
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        ahead = _noise(x, sigma, sigma_next, generator) if logic.operation == EQUAL else None
        move = Step(sigma, sigma_next, ahead)
        denoised, terms = denoiser.with_terms(x, sigma, partial(densities.weigh, move))
        if callback is not None:
            callback(step, sigma, denoised)
        x = ddpm_mean(x, denoised, sigma, sigma_next)
        shifts = {i: move.mean_gain * (x0 - denoised) for i, x0 in terms.items()}  # m_i − m_r
        if particles is not None:
            particles.add(densities.weight_change(terms, move), sigma)
            ancestors = particles.resample(step, sigma, last=step == len(levels) - 2)
            if ancestors is not None:
                kept = ancestors.to(x.device)
                x, shifts = x[kept], {i: shift[kept] for i, shift in shifts.items()}
                densities.resample(ancestors)
                denoiser.resample(ancestors)
        added = _noise(x, sigma, sigma_next, generator) if ahead is None else ahead
        if added is not None:
            x = x + added
            densities.follow(added, shifts, move)
    return x


def _noise(x: Tensor, sigma: float, sigma_next: float, generator: torch.Generator | None) -> Tensor | None:
    """The noise that a step adds, shape of x; None for the step to σ' = 0, which adds none."""
    return math.sqrt(posterior_variance(sigma, sigma_next)) * noise_like(x, generator) if sigma_next > 0 else None
