"""Experts in any of ComfyUI's latent spaces: flow models whose network is one seeded convolution."""

from types import SimpleNamespace

import comfy.latent_formats
import torch
from comfy.model_base import ModelType

from ..places import around, placed

CONVOLUTIONS = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}


class ConvolutionNetwork(torch.nn.Module):
    """The smallest network that ComfyUI's BaseModel can call."""

    dtype = torch.float32

    def __init__(self, space, seed):
        super().__init__()
        torch.manual_seed(seed)
        convolution = CONVOLUTIONS[space.latent_dimensions]
        self.conv = convolution(space.latent_channels, space.latent_channels, 3, padding=1)

    def forward(self, x_t, t, context=None, control=None, transformer_options=None, **kwargs):
        return self.conv(x_t) + context.mean(dim=(1, 2)).reshape(-1, *[1] * (x_t.ndim - 1))


def expert_in(space, seed):
    """An expert in a latent space, given by the name of its class, for the fixture `chain`."""
    latent_format = getattr(comfy.latent_formats, space)
    model = around(ConvolutionNetwork(latent_format(), seed), latent_format, ModelType.FLOW)
    tokens = [[torch.full((1, 2, 4), value), {}] for value in (0.5 * seed, 0.0)]
    return SimpleNamespace(model=placed(model), condition=tokens[:1], null=tokens[1:])
