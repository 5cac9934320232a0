"""The core's particles as a ComfyUI SAMPLER, for products alone: they weigh what each expert predicts."""

from __future__ import annotations

import logging
from collections.abc import Callable

import comfy.samplers
import torch
from torch import Tensor

from ...mcdm_core.diffusion.schedule import from_flow, to_flow
from ...mcdm_core.product.plan import Factor
from ...mcdm_core.sampling import sample_particles
from ...mcdm_core.sampling.particles import Resampling, check_particles
from .evaluation import Evaluation
from .guider import ProductGuider
from .noise_levels import FLOW_LIMIT, is_flow, noise_scale
from .sampler_functions import Sampling, sampler_function
from .step_reports import step_reports

logger = logging.getLogger(__name__)

NO_PRODUCT = (
    "Expected a product of experts, which Particle Sampler weighs, and got {}, which shows one prediction alone; "
    "connect Product Guider, or another sampler."
)


def particle_sampler(resample_below: float, limit: float) -> comfy.samplers.KSAMPLER:
    """A SAMPLER that treats the batch as particles.

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
        ValueError: If the guider is not of this pack, its weights depend on the samples, or as `sample_particles`.
    """
    guider = run.model.inner_model
    if not isinstance(guider, ProductGuider):
        raise ValueError(NO_PRODUCT.format(type(guider).__name__))
    check_particles(len(run.x), resample_below, limit)
    guider.run.planner.agreement.check_fixed()
    denoiser = _Denoiser(run, guider)
    history = _History(len(run.x), guider.on_particles)
    with step_reports(run.sigmas, run.callback, run.disable, lambda: denoiser.point) as report:
        x, levels = denoiser.exploding(run.x, run.sigmas)
        x = sample_particles(
            denoiser,
            x,
            levels,
            generator=run.generator(1),
            callback=report,
            resample_below=resample_below,
            limit=limit,
            area=run.extra_args.get("denoise_mask"),
            report=history.add,
        )
    history.log()
    return denoiser.own_form(x, levels[-1])[0]


class _Denoiser:
    """ComfyUI's model in the variance-exploding form, with the factors that the product shows of each call.

    Attributes:
        point: What it was asked about last, in the reference's form.
    """

    point: Tensor

    def __init__(self, run: Sampling, guider: ProductGuider):
        self._run, self._guider = run, guider
        self._scale = noise_scale(run.schedule) if is_flow(run.schedule) else None
        self._shown: list[Evaluation] = []
        guider.watch(self._shown.append)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.with_factors(x, sigma)[0]

    def with_factors(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, list[Factor]]:
        self._shown.clear()
        self.point, level = self.own_form(x, float(sigma))
        denoised = self._run.denoised(self.point, level)
        if not self._shown:
            raise ValueError(
                "Expected the product to be evaluated at every step and another node left one out; remove the node "
                "that skips steps, or use another sampler."
            )
        return denoised, self._shown[-1].factors()

    def resample(self, ancestors: Tensor) -> None:
        self._guider.resample(ancestors)

    def exploding(self, x: Tensor, sigmas: Tensor) -> tuple[Tensor, list[float]]:
        """A start in the reference's form and the levels of a run, in the variance-exploding form."""
        levels = [float(sigma) for sigma in sigmas]
        if self._scale is None:
            return x, levels
        levels = [min(level, FLOW_LIMIT) for level in levels]
        return x / (1.0 - levels[0]), [from_flow(level, self._scale) for level in levels]

    def own_form(self, x: Tensor, sigma: float) -> tuple[Tensor, float]:
        """A point and its level in the reference's form."""
        if self._scale is None:
            return x, sigma
        own, level = to_flow(x, torch.tensor(sigma, dtype=torch.float64), self._scale)
        return own.to(x.dtype), float(level)


class _History:
    """Which particles went on."""

    def __init__(self, count: int, told: Callable[[Resampling], None]):
        self._told = told
        self._roots = torch.arange(count)
        self._steps: list[str] = []

    def add(self, resampling: Resampling) -> None:
        self._told(resampling)
        if resampling.ancestors is not None:
            self._roots = self._roots[resampling.ancestors]
            self._steps.append(f"{resampling.step + 1} (effective size {resampling.effective:.1f})")

    def log(self) -> None:
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
