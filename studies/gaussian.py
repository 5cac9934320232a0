"""Experts and products known in closed form: the best denoiser of Gaussian data is an affine function.

For data N(μ_k, s_k) and signed coefficients c_k that sum to 1 (conditions and nulls of Eq. 10 together), with u = σ²,
P(u) = Π (s_k + u)^c_k and b(u) = Σ c_k μ_k/(s_k + u), the combined score is b(u) − x (log P)'(u): affine in x, so every
sampler's samples are Gaussian too. The moments below are the limit of infinitely many steps from infinite noise.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mcdm_core.diffusion.prediction import output_from_x0, prediction_named
from mcdm_core.diffusion.schedule import NoiseSchedule, Schedule, per_row
from mcdm_core.expert.condition import Condition
from mcdm_core.expert.expert import Expert

Numbers = Sequence[float] | Tensor


class GaussianNetwork(nn.Module):
    """Denoiser of data N(μ_k, s_k), independent in every channel and pixel; the label of a row chooses k.

    It sees only x_t and t, as a trained network would, so it must be asked in its own form and at its own timestep.

    Args:
        means: μ_k, shape (K, C).
        variances: s_k, shape (K, C).
        schedule: Schedule it answers for.
        prediction: Name of what it predicts, a key of `PREDICTIONS`.
    """

    def __init__(self, means: Tensor, variances: Tensor, schedule: NoiseSchedule, prediction: str):
        super().__init__()
        self.means, self.variances = means, variances
        self.schedule, self.prediction = schedule, prediction_named(prediction)

    def forward(self, x_t: Tensor, t: Tensor, *, labels: Tensor, text_active: bool = False) -> Tensor:
        """E[x0 | x_t] = μ + s/(s + σ²) (x_t/α_t − μ), expressed in the prediction type."""
        alpha_t, sigma_t = (per_row(factor, x_t) for factor in self.schedule.alpha_sigma(t))
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
    """Expert on float64 samples of one pixel; condition k is `label(k)`.

    Args:
        means: μ_k, numbers for one channel or lists of numbers for several.
        variances: s_k > 0, likewise.
        schedule: Its schedule; None is `wide_schedule()`.
        prediction: Name of what it predicts.
        name: Shown in messages.
    """
    tables = [torch.tensor(values, dtype=torch.float64).reshape(len(values), -1) for values in (means, variances)]
    schedule = schedule or wide_schedule()
    network = GaussianNetwork(tables[0], tables[1], schedule, prediction)
    return Expert(
        network, schedule, network.prediction, image_size=1, channels=tables[0].shape[1], clamp_x0=False, name=name
    )


def label(k: int) -> Condition:
    """The condition that chooses Gaussian k."""
    return Condition(labels=torch.tensor([k]))


def wide_schedule(sigma_min: float = 1e-3, sigma_max: float = 1e4, steps: int = 1000) -> Schedule:
    """Noise levels in even ratios, far enough apart to stand for 0 and infinity."""
    exponents = torch.linspace(0, 1, steps, dtype=torch.float64)
    sigmas = sigma_min * (sigma_max / sigma_min) ** exponents
    return Schedule(1 / (1 + sigmas**2))


class Moments(NamedTuple):
    """Mean and variance of a Gaussian."""

    mean: float
    variance: float

    @property
    def std(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.variance)


def product_moments(means: Numbers, variances: Numbers, coefficients: Numbers) -> Moments:
    """Moments of the product of the densities, Π N(x; μ_k, s_k)^c_k, the goal of Eq. 10.

    Variance 1/Σ(c_k/s_k), mean variance · Σ(c_k μ_k/s_k).

    Args:
        means: μ_k, shape (K,).
        variances: s_k > 0, shape (K,).
        coefficients: c_k of any sign, shape (K,), which sum to 1.

    Raises:
        ValueError: If Σ(c_k/s_k) is not above 0: such a product has no density.
    """
    mu, s, c = _float64(means, variances, coefficients)
    precision = (c / s).sum().item()
    if precision <= 0:
        raise ValueError(
            f"Expected Gaussians whose product has a density, Σ c/s > 0, and got Σ c/s = {precision:.4g}; "
            "make the null's variance larger or the weights smaller."
        )
    return Moments((c * mu / s).sum().item() / precision, 1 / precision)


def ode_moments(means: Numbers, variances: Numbers, coefficients: Numbers) -> Moments:
    """Moments that the probability-flow ODE (DDIM at η = 0, Euler) reaches.

    Variance Π s_k^c_k, mean ½ √P(0) ∫ b/√P du. For the arguments see `product_moments`.
    """
    p, b = _p_and_b(means, variances, coefficients)
    p0 = p(torch.zeros(1, dtype=torch.float64)).item()
    return Moments(0.5 * p0**0.5 * _integral(lambda u: b(u) / p(u).sqrt()), p0)


def sde_moments(means: Numbers, variances: Numbers, coefficients: Numbers) -> Moments:
    """Moments that the full SDE (DDPM's ancestral sampling, DDIM at η = 1) reaches.

    Variance P(0)² ∫ P⁻² du, mean P(0) ∫ b/P du. For the arguments see `product_moments`.
    """
    p, b = _p_and_b(means, variances, coefficients)
    p0 = p(torch.zeros(1, dtype=torch.float64)).item()
    return Moments(p0 * _integral(lambda u: b(u) / p(u)), p0**2 * _integral(lambda u: p(u) ** -2))


def _p_and_b(
    means: Numbers, variances: Numbers, coefficients: Numbers
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    mu, s, c = (values[:, None] for values in _float64(means, variances, coefficients))
    return lambda u: ((s + u).log() * c).sum(0).exp(), lambda u: (c * mu / (s + u)).sum(0)


def _integral(function: Callable[[Tensor], Tensor]) -> float:
    """∫ from 0 to infinity, by the trapezoid rule in log u."""
    log_u = torch.linspace(-40, 40, 20_001, dtype=torch.float64)
    return torch.trapezoid(function(log_u.exp()) * log_u.exp(), log_u).item()


def _float64(*values: Numbers) -> list[Tensor]:
    return [torch.as_tensor(numbers, dtype=torch.float64) for numbers in values]
