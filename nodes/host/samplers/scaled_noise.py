"""Start noise for SamplerCustomAdvanced."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.sample
from torch import Tensor


class ScaledNoise(NamedTuple):
    """A NOISE: standard normal numbers times a factor.

    Attributes:
        seed: Seed; the numbers are those that ComfyUI's KSampler draws from it.
        scale: Factor; 1 is ComfyUI's RandomNoise.
    """

    seed: int
    scale: float

    def generate_noise(self, input_latent: dict[str, Any]) -> Tensor:
        """Noise for a LATENT, of its shape, on the CPU."""
        samples = input_latent["samples"]
        return self.scale * comfy.sample.prepare_noise(samples, self.seed, input_latent.get("batch_index"))
