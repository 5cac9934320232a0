"""Start noise, and what it was made of, which several latent spaces share."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.sample
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from .latents import parts_of


class Drawn(NamedTuple):
    """What start noise was made of.

    Attributes:
        standard: Standard normal noise.
        temperature: The factor that it was multiplied by.
    """

    standard: Tensor
    temperature: float


_DRAWN = WeakTensorKeyDictionary()  # by the start noise: a guider is given a tensor, and no NOISE


def drawn_of(noise: Tensor) -> Drawn:
    """What start noise was made of; noise of other nodes counts as standard normal."""
    return _DRAWN.get(noise, Drawn(noise, 1.0))


class ScaledNoise(NamedTuple):
    """A NOISE: standard normal noise times a factor.

    Attributes:
        seed: Seed, from which ComfyUI's KSampler would draw the same noise.
        temperature: Factor; 1 is ComfyUI's RandomNoise.
    """

    seed: int
    temperature: float

    def generate_noise(self, input_latent: dict[str, Any]) -> Tensor:
        """Noise of the shape of a LATENT, on the CPU."""
        standard = comfy.sample.prepare_noise(input_latent["samples"], self.seed, input_latent.get("batch_index"))
        noise = standard * self.temperature  # ComfyUI's nested tensors have no product from the left
        _DRAWN[parts_of(noise)[0]] = Drawn(parts_of(standard)[0], self.temperature)
        return noise
