"""Noise that depends on the seed alone."""

import torch
from torch import Tensor


def noise_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise like x, drawn on the generator's device: a CPU seed gives the same noise anywhere."""
    device = generator.device if generator is not None else x.device
    return torch.randn(x.shape, dtype=x.dtype, device=device, generator=generator).to(x.device)
