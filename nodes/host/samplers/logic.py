"""The core's logic of experts as a ComfyUI SAMPLER, only for products, since it needs each expert's predictions."""

from __future__ import annotations

import comfy.samplers
from torch import Tensor

from ....mcdm_core.product.logic import HARMONIC, Logic
from ....mcdm_core.sampling import sample_logic
from ....mcdm_core.sampling.logic import check_correction
from ....mcdm_core.sampling.particles import check_particles
from .functions import Sampling, sampler_function
from .particles import ParticleHistory
from .run_denoiser import RunDenoiser, guider_of

NO_EXPERTS = (
    "Expected a product of experts, whose densities Logic Sampler tracks, and got {}, which shows one prediction "
    "alone; connect Product Guider, or another sampler."
)


def logic_sampler(logic: Logic, corrected: bool, resample_below: float, limit: float) -> comfy.samplers.KSAMPLER:
    """A SAMPLER of AND, OR, NOT or equal densities of experts.

    Args:
        logic: How densities are combined.
        corrected: Whether the batch is a set of particles, see the core's `sample_logic`.
        resample_below: See the core's `sample_particles`.
        limit: Likewise.

    Raises:
        ValueError: If a number is out of range, or samples of this logic can't be corrected.
    """
    check_particles(2, resample_below, limit)
    check_correction(logic, corrected)
    options = {"logic": logic, "corrected": corrected, "resample_below": resample_below, "limit": limit}
    return comfy.samplers.KSAMPLER(sample_comfy_logic, extra_options=options)


@sampler_function
def sample_comfy_logic(
    run: Sampling,
    logic: Logic = HARMONIC,
    corrected: bool = False,
    resample_below: float = 0.5,
    limit: float = 1.0,
) -> Tensor:
    """Logic of experts as one of ComfyUI's sampler functions.

    A rectified flow is stepped in the variance-exploding form, x/(1 − σ).

    Raises:
        ValueError: As `guider_of`, `Run.separately` and `sample_logic`.
    """
    guider = guider_of(run, "Logic Sampler", NO_EXPERTS)
    history = ParticleHistory(len(run.x), guider.on_particles)
    made = RunDenoiser(run, guider).sample(
        sample_logic,
        logic=logic,
        corrected=corrected,
        resample_below=resample_below,
        limit=limit,
        report=history.add,
    )
    if corrected:
        history.log()
    return made
