"""Start noise for SamplerCustomAdvanced."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.sample
from torch import Tensor


class ScaledNoise(NamedTuple):
    """A NOISE: standard normal noise times a factor.

    Attributes:
        seed: Seed, from which ComfyUI's KSampler would draw the same noise.
        scale: Factor; 1 is ComfyUI's RandomNoise.
    """

    seed: int
    scale: float

    def generate_noise(self, input_latent: dict[str, Any]) -> Tensor:
        """Noise of the shape of a LATENT, on the CPU."""
        samples = input_latent["samples"]
        return self.scale * comfy.sample.prepare_noise(samples, self.seed, input_latent.get("batch_index"))
