"""Samplers by their name on the command line. A new one goes into a file of its own and into this table."""

import functools

from .ddim import sample_ddim
from .ddpm import forward_variance, sample_ddpm
from .ddpm_learned import sample_ddpm_learned
from .types import Sampler

SAMPLERS: dict[str, Sampler] = {
    "ddim": sample_ddim,
    "ddpm": sample_ddpm,
    "ddpm-large": functools.partial(sample_ddpm, variance=forward_variance),
    "ddpm-learned": sample_ddpm_learned,
}
