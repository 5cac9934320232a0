"""The core's particle sampler as a ComfyUI SAMPLER, only for products: weights come from each expert's predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable

import comfy.samplers
import torch
from torch import Tensor

from ....mcdm_core.sampling import sample_particles
from ....mcdm_core.sampling.particles import Resampling, check_particles
from .functions import Sampling, sampler_function
from .run_denoiser import RunDenoiser, guider_of

logger = logging.getLogger(__name__)

NO_PRODUCT = (
    "Expected a product of experts, which Particle Sampler weighs, and got {}, which shows one prediction alone; "
    "connect Product Guider, or another sampler."
)


def particle_sampler(resample_below: float, limit: float) -> comfy.samplers.KSAMPLER:
    """A SAMPLER whose particles are the pictures of the batch.

    Args:
        resample_below: See the core's `sample_particles`.
        limit: Likewise.

    Raises:
        ValueError: If a number is out of range.
    """
    check_particles(2, resample_below, limit)
    options = {"resample_below": resample_below, "limit": limit}
    return comfy.samplers.KSAMPLER(sample_comfy_particles, extra_options=options)


@sampler_function
def sample_comfy_particles(run: Sampling, resample_below: float = 0.5, limit: float = 1.0) -> Tensor:
    """Particles as one of ComfyUI's sampler functions.

    A rectified flow is stepped in the variance-exploding form, x/(1 − σ).

    Raises:
        ValueError: As `guider_of` and the core's `sample_particles`.
    """
    guider = guider_of(run, "Particle Sampler", NO_PRODUCT)
    check_particles(len(run.x), resample_below, limit)
    history = ParticleHistory(len(run.x), guider.on_particles)
    made = RunDenoiser(run, guider).sample(
        sample_particles,
        resample_below=resample_below,
        limit=limit,
        report=history.add,
    )
    history.log()
    return made


class ParticleHistory:
    """The history of a run's particles: when they were resampled, and from which start each one comes.

    Args:
        count: Number of particles.
        report: Called at every step too.
    """

    def __init__(self, count: int, report: Callable[[Resampling], None]):
        self._report = report
        self._roots = torch.arange(count)
        self._steps: list[str] = []

    def add(self, resampling: Resampling) -> None:
        """Record a step."""
        self._report(resampling)
        if resampling.ancestors is not None:
            self._roots = self._roots[resampling.ancestors]
            self._steps.append(f"{resampling.step + 1} (effective size {resampling.effective:.1f})")

    def log(self) -> None:
        """Log after which steps particles were resampled, and how many of the first ones have descendants."""
        count, left = len(self._roots), len(self._roots.unique())
        logger.info(
            "Particles resampled after steps %s; the %d pictures go back to %d of the %d that began: %s.",
            ", ".join(self._steps) or "none",
            count,
            left,
            count,
            ", ".join(str(root + 1) for root in self._roots.tolist()),
        )
        if left == 1:
            logger.warning(
                "All particles go back to picture %d of the batch; lower limit, or enlarge the batch.",
                int(self._roots[0]) + 1,
            )
