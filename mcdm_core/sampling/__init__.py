"""Samplers. They know only a denoiser, which predicts x0 from x = x0 + σ·n, not how it predicts."""

from .choose import choose
from .ddim import ddim_step, sample_ddim
from .ddpm import forward_variance, posterior_variance, sample_ddpm
from .ddpm_learned import sample_ddpm_learned
from .logic import sample_logic
from .registry import SAMPLERS
from .run import sample_product, sigmas_for

__all__ = [
    "SAMPLERS",
    "choose",
    "ddim_step",
    "forward_variance",
    "posterior_variance",
    "sample_ddim",
    "sample_ddpm",
    "sample_ddpm_learned",
    "sample_logic",
    "sample_product",
    "sigmas_for",
]
