"""The loss of experts."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...diffusion.prediction import Prediction
from ...diffusion.schedule import Schedule
from ...expert.condition import Condition
from ...networks import UNet


def trained_schedule(name: str) -> Schedule:
    """The schedule of this name, for training.

    Raises:
        ValueError: The name is unknown, or its schedule has no discrete timesteps.
    """
    schedule = Schedule.named(name)
    if not isinstance(schedule, Schedule):
        raise ValueError(
            f'Expected a schedule of discrete timesteps and got {name!r}; train with "cosine" or "linear".'
        )
    return schedule


@dataclass(frozen=True)
class Objective:
    """Denoising at uniformly drawn timesteps.

    Attributes:
        schedule: Noise schedule.
        prediction: What the network predicts.
        autocast: Use bfloat16 for convolutions and matrix products.
    """

    schedule: Schedule
    prediction: Prediction
    autocast: bool = False

    def __call__(self, network: UNet, x0: Tensor, condition: Condition, rng: np.random.Generator) -> Tensor:
        """Mean squared error of the network's prediction.

        Args:
            network: The network.
            x0: Pictures in [−1, 1], (B, C, H, W).
            condition: Their conditions, B rows.
            rng: Source of timesteps and noise.
        """
        return self.at(network, x0, condition, *self.draw(x0, rng))

    def draw(self, x0: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A timestep for each picture, (B,), and its noise, shape of x0."""
        t = torch.from_numpy(rng.uniform(0, len(self.schedule.alphas_cumprod) - 1, len(x0)))
        return t, torch.from_numpy(rng.standard_normal(x0.shape, dtype=np.float32))

    def at(self, network: UNet, x0: Tensor, condition: Condition, t: Tensor, noise: Tensor) -> Tensor:
        """The mean squared error at timesteps and noise that were drawn."""
        alpha_t, sigma_t = (value.float().view(-1, 1, 1, 1) for value in self.schedule.alpha_sigma(t))
        x_t = alpha_t * x0 + sigma_t * noise
        target = self.prediction.target(x0, noise, alpha_t, sigma_t)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            output = network(x_t, t.float(), **condition.kwargs())
        return (output.float() - target).square().mean()
