"""Noise schedules of experts, in ComfyUI's terms."""

from __future__ import annotations

from functools import cached_property

import comfy.model_sampling
import torch
from torch import Tensor

from ....mcdm_core import Schedule
from ....mcdm_core.diffusion.schedule import NoiseSchedule, scale_to_known, sigma_at_progress

PREDICTIONS = {
    "eps": comfy.model_sampling.EPS,
    "v": comfy.model_sampling.V_PREDICTION,
    "x0": comfy.model_sampling.X0,
}
"""What a network predicts → ComfyUI's class of it; the others derive from the first."""

_NOISE_FROM = 0.9  # share of the timesteps above which x_t has next to nothing of the picture


class ScheduleSampling(comfy.model_sampling.ModelSamplingDiscrete):
    """ComfyUI's discrete sampling with an expert's own β schedule and fractional timesteps.

    ComfyUI rounds the timestep of a noise level to the nearest integer; here `timestep` inverts `sigma` exactly, as
    `Schedule` does.

    Args:
        schedule: The schedule the expert was trained on.
    """

    def __init__(self, schedule: Schedule):
        super().__init__()
        self.schedule = schedule
        self.num_timesteps = len(schedule)
        self.set_sigmas(schedule.sigma(torch.arange(len(schedule), dtype=torch.float64)))

    def set_sigmas(self, sigmas: Tensor) -> None:
        """Take the noise levels of a schedule."""
        super().set_sigmas(sigmas)
        self.__dict__.pop("_highest", None)

    @cached_property
    def _highest(self) -> float:
        """The schedule's highest level as a number; read from its device once, or every step would wait for it."""
        return float(self.sigma_max)

    def timestep(self, sigma: Tensor) -> Tensor:
        """Fractional timesteps at noise levels of any shape."""
        return self.schedule.t(sigma)

    def sigma(self, timestep: Tensor) -> Tensor:
        """Noise levels at timesteps of any shape, fractional ones allowed."""
        return self.schedule.sigma(timestep.float())

    def noise_scaling(self, sigma: Tensor, noise: Tensor, latent_image: Tensor, max_denoise: bool = False) -> Tensor:
        """As ComfyUI's, but a run from an empty latent starts from x_T = noise, in the variance-preserving form.

        ComfyUI does so only at the schedule's last level, but published spacings may begin a little below it. Far below
        it, an empty latent stands for a gray picture, or the mean of all latents. ComfyUI calls this with one level
        when a run starts, and with one per row for the known part of an inpainting, which is never pure noise.
        """
        starts = sigma.ndim == 0 and self.timestep(sigma) >= _NOISE_FROM * (self.num_timesteps - 1)
        return super().noise_scaling(sigma, noise, latent_image, max_denoise or bool(starts and not latent_image.any()))

    def calculate_denoised(self, sigma: Tensor, model_output: Tensor, model_input: Tensor) -> Tensor:
        """x0 from x = `model_input`; above the schedule's highest level, x is scaled down to that level.

        The network gets the same x_t there (`calculate_input`), at its last timestep.
        """
        known = sigma.clamp(max=self._highest)
        scale = scale_to_known(sigma, known).reshape(-1, *[1] * (model_input.ndim - 1))
        return super().calculate_denoised(known, model_output, model_input * scale)

    def percent_to_sigma(self, percent: float) -> float:
        """Noise level after a share of the sampling, counted in timesteps as ComfyUI does."""
        if percent <= 0.0:
            return 999999999.9  # ComfyUI's value for the beginning
        if percent >= 1.0:
            return 0.0
        return sigma_at_progress(self.schedule, percent)


def schedule_sampling(schedule: NoiseSchedule, prediction: str) -> ScheduleSampling:
    """ComfyUI's model_sampling object for a schedule and a prediction type.

    Args:
        schedule: A variance-preserving schedule.
        prediction: "eps", "v" or "x0".

    Raises:
        ValueError: If ComfyUI cannot sample such an expert.
    """
    if prediction not in PREDICTIONS or not isinstance(schedule, Schedule):
        raise ValueError(
            f"Expected an expert with a discrete schedule that predicts {', '.join(PREDICTIONS)} and got "
            f"{prediction!r} on a {type(schedule).__name__}; sample it with `python -m mcdm_core sample`."
        )

    class Sampling(ScheduleSampling, PREDICTIONS[prediction]):  # type: ignore[misc, valid-type]
        """Schedule and prediction type joined, as ComfyUI expects them."""

    return Sampling(schedule)
