"""Samplers. They know only a denoiser, which predicts x0 from x = x0 + σ·n, not how it predicts."""

from .choose import choose, measure_lifts
from .ddim import ddim_step, sample_ddim
from .ddpm import forward_variance, posterior_variance, sample_ddpm
from .ddpm_learned import sample_ddpm_learned
from .langevin import langevin_step, sample_langevin
from .logic import sample_logic
from .particles import sample_particles
from .registry import SAMPLERS
from .run import sample_product, sigmas_for

__all__ = [
    "SAMPLERS",
    "choose",
    "ddim_step",
    "forward_variance",
    "langevin_step",
    "measure_lifts",
    "posterior_variance",
    "sample_ddim",
    "sample_ddpm",
    "sample_ddpm_learned",
    "sample_langevin",
    "sample_logic",
    "sample_particles",
    "sample_product",
    "sigmas_for",
]
