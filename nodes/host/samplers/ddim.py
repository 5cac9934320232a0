"""The core's DDIM as a ComfyUI SAMPLER."""

from __future__ import annotations

import comfy.samplers
from torch import Tensor

from ....mcdm_core.sampling import sample_ddim
from ..comfyui.step_reports import step_reports
from ..evaluation.noise_levels import is_flow
from .functions import Sampling, sampler_function


def ddim_sampler(eta: float) -> comfy.samplers.KSAMPLER:
    """A SAMPLER that steps with DDIM at this η."""
    return comfy.samplers.KSAMPLER(sample_comfy_ddim, extra_options={"eta": eta})


@sampler_function
def sample_comfy_ddim(run: Sampling, eta: float = 0.0) -> Tensor:
    """DDIM as one of ComfyUI's sampler functions.

    Args:
        run: What to sample.
        eta: η.

    Returns:
        Samples, shape of x.

    Raises:
        ValueError: If the model is a rectified flow, whose x DDIM doesn't step.
    """
    if is_flow(run.schedule):
        raise ValueError(
            "Expected a noise-predicting model as the first expert and got a rectified flow, which DDIM does not "
            "step; choose another sampler, euler for example."
        )
    point = run.x

    def denoise(x: Tensor, sigma: Tensor | float) -> Tensor:
        nonlocal point
        point = x
        return run.denoised(x, float(sigma))

    with step_reports(run.sigmas, run.callback, run.disable, lambda: point) as report:
        return sample_ddim(denoise, run.x, run.sigmas, generator=run.generator(1), callback=report, eta=eta)
