"""The paper's timesteps as ComfyUI SIGMAS."""

from __future__ import annotations

import comfy.model_sampling
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core import space_timesteps


def spaced_sigmas(model: ModelPatcher, spacing: str, denoise: float) -> Tensor:
    """Descending noise levels at spaced timesteps, then 0.

    Args:
        model: The MODEL whose schedule is used.
        spacing: See `space_timesteps`.
        denoise: Share of the steps to keep, from the end, 0…1; 0 gives an empty result.

    Returns:
        Float32, shape (steps + 1,).

    Raises:
        ValueError: If the spacing cannot be read, or the model has no discrete timesteps.
    """
    sampling = model.get_model_object("model_sampling")
    if not isinstance(sampling, comfy.model_sampling.ModelSamplingDiscrete):
        raise ValueError(
            f"Expected a model with discrete timesteps and got one with {type(sampling).__bases__[0].__name__}; use "
            "one of ComfyUI's schedulers for it."
        )
    timesteps = space_timesteps(spacing, sampling.num_timesteps)
    kept = timesteps[: round(len(timesteps) * denoise)]
    if not kept:
        return torch.zeros(0)
    sigmas = sampling.sigma(torch.tensor(kept[::-1], dtype=torch.float32))
    return torch.cat([sigmas.float().cpu(), torch.zeros(1)])
