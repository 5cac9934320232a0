"""The paper's own sampling: the core's DDIM as a ComfyUI SAMPLER, and its timesteps as SIGMAS."""

from __future__ import annotations

import comfy.model_sampling
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.diffusion.respacing import timesteps_of_run
from ....mcdm_core.sampling import sample_ddim
from ..evaluation.model_forms import is_flow
from .functions import SamplerCall, sampler_function


@sampler_function
def sample_comfy_ddim(run: SamplerCall, eta: float = 0.0) -> Tensor:
    """DDIM as one of ComfyUI's sampler functions.

    Args:
        run: What to sample.
        eta: η.

    Returns:
        Samples, shape of x.

    Raises:
        ValueError: If the model is a rectified flow, whose x DDIM doesn't step.
    """
    if is_flow(run.model_sampling):
        raise ValueError(
            "Expected a noise-predicting model as the first expert and got a rectified flow, which DDIM does not "
            "step; choose another sampler, euler for example."
        )
    with run.reports() as report:
        return sample_ddim(run.predict, run.x, run.sigmas, generator=run.generator(), callback=report, eta=eta)


def spaced_sigmas(patcher: ModelPatcher, spacing: str, denoise: float) -> Tensor:
    """Descending noise levels at spaced timesteps, then 0.

    Args:
        patcher: The MODEL whose schedule is used.
        spacing: See `timesteps_of_run`.
        denoise: Share of the steps to keep, from the end, 0…1; 0 gives an empty result.

    Returns:
        Float32, shape (steps + 1,).

    Raises:
        ValueError: If the spacing cannot be read, or the model has no discrete timesteps.
    """
    model_sampling = patcher.get_model_object("model_sampling")
    if not isinstance(model_sampling, comfy.model_sampling.ModelSamplingDiscrete):
        kind = type(model_sampling).__bases__[0].__name__
        raise ValueError(
            f"Expected a model with discrete timesteps and got one with {kind}; use one of ComfyUI's schedulers for it."
        )
    timesteps = timesteps_of_run(spacing, model_sampling.num_timesteps)
    kept = timesteps[: round(len(timesteps) * denoise)]
    if not kept:
        return torch.zeros(0)
    sigmas = model_sampling.sigma(torch.tensor(kept[::-1], dtype=torch.float32))
    return torch.cat([sigmas.float().cpu(), torch.zeros(1)])
