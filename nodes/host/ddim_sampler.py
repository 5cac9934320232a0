"""The core's DDIM as a ComfyUI SAMPLER."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from ...mcdm_core.sampling import sample_ddim
from .noise_levels import is_flow
from .step_reports import step_reports


def ddim_sampler(eta: float) -> comfy.samplers.KSAMPLER:
    """A SAMPLER that steps with DDIM at this η."""
    return comfy.samplers.KSAMPLER(sample_comfy_ddim, extra_options={"eta": eta})


def sample_comfy_ddim(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict], None] | None = None,
    disable: bool | None = None,
    eta: float = 0.0,
) -> Tensor:
    """DDIM behind the signature of ComfyUI's sampler functions.

    Args:
        model: Predicts x0 as `model(x, sigma, **extra_args)`.
        x: Start, x0 + sigmas[0]·n, shape (B, C, …).
        sigmas: Descending noise levels, shape (S + 1,).
        extra_args: Passed to the model; its seed is that of the noise.
        callback: Called after each step with a dictionary, as ComfyUI's samplers do.
        disable: Whether to hide the progress bar in the log.
        eta: η.

    Returns:
        Samples, shape of x.

    Raises:
        ValueError: If the model is a rectified flow, whose x DDIM doesn't step.
    """
    if is_flow(model.inner_model.inner_model.model_sampling):
        raise ValueError(
            "Expected a noise-predicting model as the first expert and got a rectified flow, which DDIM does not "
            "step; choose another sampler, euler for example."
        )
    extra_args = extra_args or {}
    # Another seed than the start noise's, which was drawn from the same generator.
    generator = torch.Generator().manual_seed(((extra_args.get("seed") or 0) + 1) % 2**64)
    point = x

    def denoise(x: Tensor, sigma: Tensor | float) -> Tensor:
        nonlocal point
        point = x
        return model(x, x.new_full((len(x),), float(sigma)), **extra_args)

    with step_reports(sigmas, callback, disable, lambda: point) as report:
        return sample_ddim(denoise, x, sigmas, generator=generator, callback=report, eta=eta)
