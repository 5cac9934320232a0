"""Ancestral sampling (Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020; Eq. 9 of the paper)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..diffusion.respacing import Respacing
from .noise import noise_like
from .types import Callback, Denoiser, VarianceDenoiser


def ddpm_mean(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Mean of q(x' | x, x0 = D), Ho et al.'s Eq. 7 in the variance-exploding form: D + (σ'/σ)²(x − D)."""
    return denoised + (sigma_next / sigma) ** 2 * (x - denoised)


@torch.no_grad()
def sample_ddpm(
    denoiser: Denoiser,
    x: Tensor,
    respacing: Respacing,
    log_variance: Tensor | None = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Sample with a fixed variance.

    Args:
        denoiser: Predicts x0.
        x: Start, x0 + respacing.sigmas[-1]·n, shape (B, …).
        respacing: Timesteps to visit.
        log_variance: log σ_t² of each step in the variance-preserving form, shape (S,): `respacing.log_variance_small`
            (β̃, the default) or `respacing.log_variance_large` (β).
        generator: Source of the noise, drawn on the generator's device.
        callback: See `Callback`.

    Returns:
        Clean sample, shape of x.
    """
    table = respacing.log_variance_small if log_variance is None else log_variance

    def predict(x: Tensor, step: int) -> tuple[Tensor, float]:
        return denoiser(x, respacing.sigmas[step].item()), table[step].item()

    return _sample(predict, x, respacing, generator, callback)


@torch.no_grad()
def sample_ddpm_learned(
    denoiser: VarianceDenoiser,
    x: Tensor,
    respacing: Respacing,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Sample with the variance that the (reference) network has learned (Nichol & Dhariwal, 2021).

    Args:
        denoiser: Predicts x0 and v.
        x: Start, x0 + respacing.sigmas[-1]·n, shape (B, …).
        respacing: Timesteps to visit.
        generator: Source of the noise, drawn on the generator's device.
        callback: See `Callback`.

    Returns:
        Clean sample, shape of x.

    Raises:
        ValueError: If the denoiser's network has no learned variance.
    """

    def predict(x: Tensor, step: int) -> tuple[Tensor, Tensor]:
        denoised, v = denoiser.with_variance(x, respacing.sigmas[step].item())
        if v is None:
            raise ValueError(
                "Expected a network with a learned variance and the reference expert has none, or is not evaluated; "
                "use sample_ddpm with a fixed variance, or make the expert that has one the first term."
            )
        return denoised, respacing.learned_log_variance(step, v)

    return _sample(predict, x, respacing, generator, callback)


def _sample(
    predict: Callable[[Tensor, int], tuple[Tensor, Tensor | float]],
    x: Tensor,
    respacing: Respacing,
    generator: torch.Generator | None,
    callback: Callback | None,
) -> Tensor:
    """The loop over steps; `predict` gives x0 and the log variance."""
    for step in reversed(range(len(respacing))):
        sigma = respacing.sigmas[step].item()
        denoised, log_variance = predict(x, step)
        if callback is not None:
            callback(len(respacing) - 1 - step, sigma, denoised)
        if step == 0:
            x = denoised
            continue
        mean = ddpm_mean(x, denoised, sigma, respacing.sigmas[step - 1].item())
        # The variance is that of the variance-preserving form; dividing by the next ᾱ brings it to this form.
        log_scale = math.log(respacing.alphas_cumprod[step - 1])
        deviation = torch.exp(0.5 * (torch.as_tensor(log_variance, dtype=x.dtype, device=x.device) - log_scale))
        x = mean + deviation * noise_like(x, generator)
    return x
