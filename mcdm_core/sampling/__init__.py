"""Samplers. They know a denoiser, which predicts x0 from x = x0 + σ·n, and nothing about what is inside it."""

from .ddim import ddim_step, sample_ddim
from .ddpm import sample_ddpm, sample_ddpm_learned
from .run import sample_product, sigmas_for

__all__ = ["ddim_step", "sample_ddim", "sample_ddpm", "sample_ddpm_learned", "sample_product", "sigmas_for"]
