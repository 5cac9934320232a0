"""Samplers by their name on the command line. A new one goes into a file of its own and into this table."""

from .ddim import sample_ddim
from .ddpm import DDPM, forward_variance, sample_ddpm
from .ddpm_learned import sample_ddpm_learned
from .logic import sample_logic
from .types import Sampler

SAMPLERS: dict[str, Sampler] = {
    "ddim": sample_ddim,
    "ddpm": sample_ddpm,
    "ddpm-large": DDPM(forward_variance),
    "ddpm-learned": sample_ddpm_learned,
    "logic": sample_logic,
}
