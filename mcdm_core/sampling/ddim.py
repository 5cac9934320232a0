"""DDIM (Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2021)."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..diffusion.schedule import levels_of
from .noise import noise_like
from .types import Callback, Denoiser


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


@torch.no_grad()
def sample_ddim(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    eta: float = 0.0,
    draw: Callable[[Tensor, torch.Generator | None], Tensor] | None = None,
) -> Tensor:
    """Sample with DDIM.

    Args:
        denoiser: Predicts x0.
        x: Start, x0 + sigmas[0]·n, shape (B, …).
        sigmas: Descending noise levels, the last one usually 0; one network evaluation for each but the last.
        generator: Source of the noise for η > 0; its numbers are drawn on the generator's device.
        callback: See `Callback`.
        eta: η of `ddim_step`.
        draw: Draws standard normal noise in the shape of a sample; None draws white noise.

    Returns:
        Sample at the last noise level, shape of x.
    """
    levels = levels_of(sigmas)
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised = denoiser(x, sigma)
        if callback is not None:
            callback(step, sigma, denoised)
        noise = (draw or noise_like)(x, generator) if eta > 0 and sigma_next > 0 else None
        x = ddim_step(x, denoised, sigma, sigma_next, eta, noise)
    return x
