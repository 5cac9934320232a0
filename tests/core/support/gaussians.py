"""Experts whose answer is known in closed form: networks that predict x0 of Gaussian data exactly."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mcdm_core import Condition, Expert, Schedule, prediction_named
from mcdm_core.prediction import output_from_x0
from mcdm_core.schedule import NoiseSchedule, per_row


class GaussianNetwork(nn.Module):
    """Denoiser of data N(μ_k, s_k), independent in every channel and pixel; the label of a row chooses k.

    It sees only x_t and t, as a trained network would, so it must be asked in its own form and at its own timestep.

    Attributes:
        batches: Rows of each call.
        levels: Noise level of each call.
    """

    def __init__(self, means: Tensor, variances: Tensor, schedule: NoiseSchedule, prediction: str):
        super().__init__()
        self.means, self.variances = means, variances
        self.schedule, self.prediction = schedule, prediction_named(prediction)
        self.batches: list[int] = []
        self.levels: list[float] = []

    def forward(self, x_t: Tensor, t: Tensor, *, labels: Tensor, text_active: bool = False) -> Tensor:
        alpha_t, sigma_t = (per_row(factor, x_t) for factor in self.schedule.alpha_sigma(t))
        self.batches.append(len(x_t))
        self.levels.append((sigma_t / alpha_t).flatten()[0].item())
        mean, variance = (table[labels][..., None, None] for table in (self.means, self.variances))
        x0 = mean + variance / (variance + (sigma_t / alpha_t) ** 2) * (x_t / alpha_t - mean)
        return output_from_x0(self.prediction, x0, x_t, alpha_t, sigma_t)


def gaussian_expert(
    means: Sequence,
    variances: Sequence,
    schedule: NoiseSchedule | None = None,
    prediction: str = "eps",
    name: str = "gauss",
) -> Expert:
    """Expert on one channel (numbers) or several (lists of numbers); condition k is `label(k)`."""
    tables = [torch.tensor(values, dtype=torch.float64).reshape(len(values), -1) for values in (means, variances)]
    schedule = schedule or wide_schedule()
    network = GaussianNetwork(*tables, schedule, prediction)
    options = {"image_size": 1, "channels": tables[0].shape[1], "clamp_x0": False, "name": name}
    return Expert(network, schedule, network.prediction, **options)


def label(k: int) -> Condition:
    """The condition that chooses Gaussian k."""
    return Condition(labels=torch.tensor([k]))


def wide_schedule(sigma_min: float = 1e-3, sigma_max: float = 1e4, steps: int = 1000) -> Schedule:
    """Noise levels in even ratios, far enough apart to stand for 0 and infinity."""
    exponents = torch.linspace(0, 1, steps, dtype=torch.float64)
    sigmas = sigma_min * (sigma_max / sigma_min) ** exponents
    return Schedule(1 / (1 + sigmas**2))


def samples(*values: float) -> Tensor:
    """One-pixel samples of one channel, shape (B, 1, 1, 1)."""
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)
