"""LATENTs as ComfyUI's sampler nodes take them in and give them out."""

from __future__ import annotations

import inspect
from typing import Any

import comfy.model_management
import comfy.sample
from comfy.model_patcher import ModelPatcher
from torch import Tensor

# What newer ComfyUI writes beside an empty latent: how many pixels, or frames, one of its values stands for.
_RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")


def fit_empty(model: ModelPatcher, latent: dict[str, Any]) -> Tensor:
    """The samples of a LATENT; an empty one in the channels, and where it tells its pixels in the size, of a MODEL.

    Args:
        model: The MODEL to be sampled.
        latent: ComfyUI's LATENT.
    """
    known = inspect.signature(comfy.sample.fix_empty_latent_channels).parameters
    ratios = {name: latent.get(name) for name in _RATIOS if name in known}
    return comfy.sample.fix_empty_latent_channels(model, latent["samples"], **ratios)


def with_samples(latent: dict[str, Any], samples: Tensor) -> dict[str, Any]:
    """A LATENT with what was sampled from it, where ComfyUI keeps what nodes hand on."""
    kept = {name: value for name, value in latent.items() if name not in _RATIOS}
    return {**kept, "samples": samples.to(comfy.model_management.intermediate_device())}


def as_intermediate(samples: Tensor) -> Tensor:
    """Samples in the dtype that KSampler gives out, which newer ComfyUI lets the user choose."""
    dtype = getattr(comfy.model_management, "intermediate_dtype", None)
    return samples if dtype is None else samples.to(dtype=dtype())
