"""Samplers. They know a denoiser, which predicts x0 from x = x0 + σ·n, and nothing about what is inside it."""

from .ddim import ddim_step, sample_ddim
from .ddpm import forward_variance, posterior_variance, sample_ddpm
from .ddpm_learned import sample_ddpm_learned
from .registry import SAMPLERS
from .run import sample_product, sigmas_for

__all__ = [
    "SAMPLERS",
    "ddim_step",
    "forward_variance",
    "posterior_variance",
    "sample_ddim",
    "sample_ddpm",
    "sample_ddpm_learned",
    "sample_product",
    "sigmas_for",
]
