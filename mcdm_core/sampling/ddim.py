"""DDIM (Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2021)."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .registry import register
from .stepwise import Step, StepwiseSampler, noise_like
from .types import Denoiser


def ddim_step(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float, eta: float, noise: Tensor | None) -> Tensor:
    """Step from σ to σ' < σ (Song et al., Eqs. 12 and 16, in the variance-exploding form).

    x' = D + (σ_down/σ)(x − D) + σ_up n with σ_up = η σ' √(1 − σ'²/σ²) and σ_down² = σ'² − σ_up². This form keeps
    float32 exact to about 1e-5 at large σ, where x + (σ' − σ)(x − D)/σ loses three digits.

    Args:
        x: x0 + σ·n, shape (B, …).
        denoised: Prediction D of x0, shape of x.
        sigma: σ.
        sigma_next: σ'.
        eta: η, 0 for no noise, 1 for the noise of the DDPM posterior.
        noise: Standard normal, shape of x; None leaves it out, as at η = 0.

    Returns:
        Sample at σ', shape of x.
    """
    sigma_up = eta * sigma_next * math.sqrt(max(0.0, 1 - (sigma_next / sigma) ** 2))
    sigma_down = math.sqrt(max(0.0, sigma_next**2 - sigma_up**2))
    x_next = denoised + (sigma_down / sigma) * (x - denoised)
    return x_next if noise is None or sigma_up == 0 else x_next + sigma_up * noise


@dataclass(eq=False)
class DDIM(StepwiseSampler):
    """DDIM.

    Attributes:
        eta: η of `ddim_step`, 0…1.

    Raises:
        ValueError: If η is outside.
    """

    may_rise: ClassVar[bool] = True  # back to noise, and then adds none on the way

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(
                f"Expected an eta from 0 to 1 for DDIM and got {self.eta:g}; set 0 for no noise on the way, or 1 for "
                "as much as ddpm adds."
            )

    def step(self, denoiser: Denoiser, x: Tensor, step: Step) -> Tensor:
        """A step of DDIM, see `ddim_step`."""
        denoised = denoiser(x, step.sigma)
        step.report(denoised)
        noise = noise_like(x, step.generator) if self.eta > 0 and step.sigma_next > 0 else None
        return ddim_step(x, denoised, step.sigma, step.sigma_next, self.eta, noise)


sample_ddim = register("ddim", DDIM(), "adds none on the way")
"""DDIM without noise on the way, unless it is given an `eta`."""
