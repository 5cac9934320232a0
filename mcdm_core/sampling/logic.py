"""Logic of experts: ancestral samples of AND, OR and NOT of their densities, which are tracked along the way.

References:
    Skreta et al., "The Superposition of Diffusion Models Using the Itô Density Estimator", ICLR 2025 (arXiv
    2412.17762). `Logic` says how densities are combined.
"""

import math
from dataclasses import dataclass, field

from torch import Tensor

from .ddpm import ddpm_mean, posterior_variance
from .densities import TrackedDensities
from .operations import HARMONIC, Logic
from .registry import register
from .stepwise import Step, StepwiseSampler, noise_like
from .types import Denoiser, TermsDenoiser


@dataclass(eq=False)
class LogicSampler(StepwiseSampler):
    """Ancestral sampling, as `sample_ddpm`, from a logic of the experts' densities instead of their product.

    It needs a `TermsDenoiser`, as every product of one space is, with the predictions of each expert alone. One expert
    alone gives the samples of `sample_ddpm`, to the bit. At the start all experts are equally likely; outside its
    window an expert's density is taken to change as the combined one does.

    Attributes:
        logic: How densities are combined.
        area: How much each value counts in densities, 0…1, broadcasts to the sample.
        densities: The experts' densities on the paths of a run, from its beginning on.
    """

    logic: Logic = HARMONIC
    area: Tensor | None = None
    densities: TrackedDensities = field(init=False)

    def begin(self, x: Tensor) -> Tensor:
        """Track densities from x on."""
        self.densities = TrackedDensities(self.logic, x, self.area)
        return x

    def step(self, denoiser: Denoiser, x: Tensor, step: Step) -> Tensor:
        """An ancestral step by the experts' densities, which follow it.

        Raises:
            ValueError: If the denoiser does not show its experts, no expert of positive weight acts, or a prediction
                is not finite.
        """
        if not isinstance(denoiser, TermsDenoiser):
            raise ValueError(
                "Expected experts of one latent space for this sampler, whose densities are tracked one by one, and "
                f"got a {type(denoiser).__name__} without `with_terms`; use another sampler than logic, ddpm for "
                "example."
            )
        denoised, terms = denoiser.with_terms(x, step.sigma, self.densities.weigh)
        step.report(denoised)
        x = ddpm_mean(x, denoised, step.sigma, step.sigma_next)
        if step.sigma_next == 0:
            return x
        gain = 1 - (step.sigma_next / step.sigma) ** 2  # ∂m_i/∂D_i, how much a mean moves with its prediction
        shifts = {i: gain * (x0 - denoised) for i, x0 in terms.items()}  # m_i − m_r
        added = math.sqrt(posterior_variance(step.sigma, step.sigma_next)) * noise_like(x, step.generator)
        self.densities.follow(added, shifts, step.sigma, step.sigma_next)
        return x + added


sample_logic = register(
    "logic",
    LogicSampler(),
    "samples what experts of positive weight agree on (AND) and none of negative weight would make (NOT)",
)
"""Logic of experts, AND by the harmonic mean unless it is given another."""
