"""Ancestral sampling with a learned variance (Nichol & Dhariwal, "Improved DDPM", 2021)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .ddpm import ddpm_mean, forward_variance, posterior_variance
from .registry import register
from .stepwise import Step, StepwiseSampler, noise_like
from .types import Denoiser, VarianceDenoiser


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


@dataclass(eq=False)
class LearnedDDPM(StepwiseSampler):
    """Ancestral sampling with the variance that the (reference) network has learned.

    It needs a `VarianceDenoiser`, as every product of one space is.
    """

    def step(self, denoiser: Denoiser, x: Tensor, step: Step) -> Tensor:
        """The mean of the posterior, and noise of the learned variance.

        Raises:
            ValueError: If the denoiser's network has no learned variance.
        """
        if not isinstance(denoiser, VarianceDenoiser):
            raise ValueError(
                "Expected experts of one latent space for this sampler, or another denoiser with a learned variance, "
                f"and got a {type(denoiser).__name__} without `with_variance`; use a sampler of fixed variance, "
                "sample_ddpm for example."
            )
        denoised, v = denoiser.with_variance(x, step.sigma)
        if v is None:
            raise ValueError(
                "Expected a network with a learned variance and the reference expert has none, or is not evaluated "
                f"at σ = {step.sigma:.4g}; use a sampler of fixed variance, ddpm for example, or make the expert that "
                "has one the first."
            )
        step.report(denoised)
        x = ddpm_mean(x, denoised, step.sigma, step.sigma_next)
        if step.sigma_next == 0:
            return x
        return x + learned_variance(step.sigma, step.sigma_next, v).sqrt() * noise_like(x, step.generator)


sample_ddpm_learned = register(
    "ddpm-learned", LearnedDDPM(), "adds what the first expert's network says, where it was trained to"
)
"""Ancestral sampling with a learned variance."""
