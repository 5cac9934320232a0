"""Samplers by their name on the command line. A new one goes into a file of its own and into these tables."""

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

ABOUT = {
    "ddim": "adds none on the way",
    "ddpm": "adds some in each step",
    "ddpm-large": "adds more",
    "ddpm-learned": "adds what the first expert's network says, where it was trained to",
    "logic": "samples what experts of positive weight agree on (AND) and none of negative weight would make (NOT)",
}
"""What the command line says of each."""
