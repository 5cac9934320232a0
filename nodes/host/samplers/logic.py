"""The core's logic of experts as a ComfyUI SAMPLER, only for products, since it needs each expert's predictions."""

from __future__ import annotations

import comfy.samplers
from torch import Tensor

from ....mcdm_core.product.methods.logic import HARMONIC, Logic
from ....mcdm_core.sampling import sample_logic
from .functions import Sampling, sampler_function
from .run_denoiser import RunDenoiser, guider_of

NO_EXPERTS = (
    "Expected a product of experts, whose densities Logic Sampler tracks, and got {}, which shows one prediction "
    "alone; connect Product Guider, or another sampler."
)


def logic_sampler(logic: Logic) -> comfy.samplers.KSAMPLER:
    """A SAMPLER of AND, OR and NOT of experts.

    Args:
        logic: How densities are combined.
    """
    return comfy.samplers.KSAMPLER(sample_comfy_logic, extra_options={"logic": logic})


@sampler_function
def sample_comfy_logic(run: Sampling, logic: Logic = HARMONIC) -> Tensor:
    """Logic of experts as one of ComfyUI's sampler functions.

    A rectified flow is stepped in the variance-exploding form, x/(1 − σ).

    Raises:
        ValueError: As `guider_of`, `Product.separately` and `sample_logic`.
    """
    return RunDenoiser(run, guider_of(run, "Logic Sampler", NO_EXPERTS)).sample(sample_logic, logic=logic)
