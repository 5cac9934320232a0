"""Ancestral sampling with a learned variance (Nichol & Dhariwal, "Improved DDPM", 2021)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..diffusion.schedule import levels_of
from .ddpm import ddpm_mean, forward_variance, posterior_variance
from .noise import noise_like
from .types import Callback, Denoiser, VarianceDenoiser


def learned_variance(sigma: float, sigma_next: float, v: Tensor) -> Tensor:
    """Variance of x' that a network has chosen (Nichol & Dhariwal, Eq. 15).

    log Σ = f·log β + (1 − f)·log β̃ with f = (v + 1)/2. Both bounds and Σ are 1/ᾱ' times as large in the
    variance-exploding form, so the equation holds there as it stands.

    Args:
        sigma: σ.
        sigma_next: σ', above 0: the step to 0 has no variance.
        v: The network's second half, about −1…1, shape (B, C, H, W).

    Returns:
        Shape of v; 0 where σ' = σ, since both bounds are 0 there.
    """
    low, high = posterior_variance(sigma, sigma_next), forward_variance(sigma, sigma_next)
    if low == 0:
        return torch.zeros_like(v)
    return low * (high / low) ** ((v + 1) / 2)


@torch.no_grad()
def sample_ddpm_learned(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Sample ancestrally with the variance that the (reference) network has learned.

    Args:
        denoiser: Predicts x0 and v; a `VarianceDenoiser`, as every product is.
        x: Start, x0 + sigmas[0]·n, shape (B, …).
        sigmas: Descending noise levels, the last one usually 0; one network evaluation for each but the last.
        generator: Source of the noise; its numbers are drawn on the generator's device.
        callback: See `Callback`.

    Returns:
        Sample at the last noise level, shape of x.

    Raises:
        ValueError: If the denoiser's network has no learned variance.
    """
    if not isinstance(denoiser, VarianceDenoiser):
        raise ValueError(
            f"Expected a denoiser with a learned variance and got a {type(denoiser).__name__} without `with_variance`; "
            "use a sampler of fixed variance, sample_ddpm for example."
        )
    levels = levels_of(sigmas)
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised, v = denoiser.with_variance(x, sigma)
        if v is None:
            raise ValueError(
                "Expected a network with a learned variance and the reference expert has none, or is not evaluated "
                f"at σ = {sigma:.4g}; use a sampler of fixed variance, ddpm for example, or make the expert that has "
                "one the first."
            )
        if callback is not None:
            callback(step, sigma, denoised)
        x = ddpm_mean(x, denoised, sigma, sigma_next)
        if sigma_next > 0:
            x = x + learned_variance(sigma, sigma_next, v).sqrt() * noise_like(x, generator)
    return x
