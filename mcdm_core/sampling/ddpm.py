"""Ancestral sampling (Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020; Eq. 9 of the paper).

The published code steps from timestep to timestep by tables of β and β̃. Both follow from the two noise levels of a
step, whatever timesteps lie between them. With ᾱ = 1/(1 + σ²) a step from σ to σ' has (Nichol & Dhariwal, "Improved
DDPM", 2021, Eq. 19)

    β = 1 − ᾱ/ᾱ' = (σ² − σ'²)/(1 + σ²)
    β̃ = β (1 − ᾱ')/(1 − ᾱ) = (σ² − σ'²) σ'²/(σ² (1 + σ'²)).

They are variances of x_t' = √ᾱ' x'. The functions here return variances of x', which are 1/ᾱ' = 1 + σ'² times as large.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .registry import register
from .stepwise import Step, StepwiseSampler, noise_like
from .types import Denoiser


def ddpm_mean(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Mean of q(x' | x, x0 = D), Ho et al.'s Eq. 7 in the variance-exploding form: D + (σ'/σ)²(x − D)."""
    return denoised + (sigma_next / sigma) ** 2 * (x - denoised)


def posterior_variance(sigma: float, sigma_next: float) -> float:
    """Variance of q(x' | x, x0): β̃/ᾱ' = σ'²(1 − σ'²/σ²), the smaller choice, right where x0 is a single point."""
    return sigma_next**2 * (1 - (sigma_next / sigma) ** 2)


def forward_variance(sigma: float, sigma_next: float) -> float:
    """β/ᾱ' = (σ² − σ'²)(1 + σ'²)/(1 + σ²), the larger choice, right where x0 is standard normal (Ho et al., §3.2)."""
    return (sigma**2 - sigma_next**2) * (1 + sigma_next**2) / (1 + sigma**2)


@dataclass(eq=False)
class DDPM(StepwiseSampler):
    """Ancestral sampling with a fixed variance; with `posterior_variance` this is DDIM at η = 1.

    Attributes:
        variance: Function of σ and σ' that returns a step's variance: `posterior_variance`, `forward_variance` or your
            own.
    """

    variance: Callable[[float, float], float] = posterior_variance

    def step(self, denoiser: Denoiser, x: Tensor, step: Step) -> Tensor:
        """The mean of the posterior, and noise of the variance."""
        denoised = denoiser(x, step.sigma)
        step.report(denoised)
        x = ddpm_mean(x, denoised, step.sigma, step.sigma_next)
        if step.sigma_next == 0:
            return x
        return x + math.sqrt(self.variance(step.sigma, step.sigma_next)) * noise_like(x, step.generator)


sample_ddpm = register("ddpm", DDPM(), "adds some in each step")
"""Ancestral sampling with the variance of the posterior, unless it is given another."""

register("ddpm-large", DDPM(forward_variance), "adds more")
