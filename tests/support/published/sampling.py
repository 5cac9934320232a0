"""The published code's sampling, written anew from the papers: an oracle that shares nothing with mcdm_core.

It steps in the variance-preserving form on integer timesteps, and its tables come from the formulas of β in float64.

References:
    Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020 (linear β, posterior).
    Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021 (cosine, learned variance, respacing).
    Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2021.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]
"""Maps x_t (B, C, H, W) and original timesteps (B,) to ε and v, joined as (B, 2C, H, W)."""


def betas(schedule: str) -> np.ndarray:
    """β of 1000 timesteps."""
    if schedule == "linear":
        return np.linspace(1e-4, 0.02, 1000)
    bar = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
    return np.minimum(1 - bar[1:] / bar[:-1], 0.999)


def timesteps(spacing: str) -> list[int]:
    """Ascending timesteps of "100", "10,10,3,2,2", "ddim25" or "fast27"."""
    if spacing == "fast27":
        return [997 if t == 999 else t for t in timesteps("10,10,3,2,2")]
    if spacing.startswith("ddim"):
        return list(range(0, 1000, 1000 // int(spacing[4:])))
    counts = [int(count) for count in spacing.split(",")]
    size = 1000 // len(counts)
    return [
        section * size + round(i * (size - 1) / (count - 1))
        for section, count in enumerate(counts)
        for i in range(count)
    ]


class Process:
    """The diffusion process that visits only some timesteps.

    Attributes:
        timesteps: Original timesteps, ascending.
        bars: ᾱ at them.
        previous: ᾱ one step closer to the picture, 1 at the last.
        betas: β = 1 − ᾱ/ᾱ_previous.
    """

    def __init__(self, schedule: str, spacing: str):
        self.timesteps = timesteps(spacing)
        self.bars = np.cumprod(1 - betas(schedule))[self.timesteps]
        self.previous = np.append(1.0, self.bars[:-1])
        self.betas = 1 - self.bars / self.previous

    @property
    def log_variance_small(self) -> np.ndarray:
        """log β̃ of each step; for the last one, where β̃ is 0, that of the step before."""
        posterior = self.betas * (1 - self.previous) / (1 - self.bars)
        return np.log(np.append(posterior[1], posterior[1:]))

    def log_variance(self, i: int, v: Tensor) -> Tensor:
        """Log variance, by v in −1…1 interpolated between log β̃ of the posterior and log β."""
        low, high = float(self.log_variance_small[i]), math.log(self.betas[i])
        return (v + 1) / 2 * high + (1 - v) / 2 * low


@dataclass
class Run:
    """A trajectory; one entry for each network evaluation.

    Attributes:
        x_t: Inputs of the network.
        x0: Clean samples predicted from them, clamped to −1…1.
        v: Learned variances predicted from them.
        end: The sample.
    """

    x_t: list[Tensor] = field(default_factory=list)
    x0: list[Tensor] = field(default_factory=list)
    v: list[Tensor] = field(default_factory=list)
    end: Tensor | None = None


def sample_ddim(network: Network, noise: Tensor, process: Process) -> Run:
    """DDIM without noise: x_prev = √ᾱ_prev x0 + √(1 − ᾱ_prev) ε, with ε derived anew from the clamped x0."""

    def step(i: int, x_t: Tensor, x0: Tensor, v: Tensor) -> Tensor:
        eps = (x_t - math.sqrt(process.bars[i]) * x0) / math.sqrt(1 - process.bars[i])
        return math.sqrt(process.previous[i]) * x0 + math.sqrt(1 - process.previous[i]) * eps

    return _sample(network, noise, process, step)


def sample_ddpm(network: Network, noise: Tensor, process: Process, step_noise: Iterable[Tensor]) -> Run:
    """Ancestral sampling with the learned variance; `step_noise` has one tensor for every step but the last."""
    draws = iter(step_noise)

    def step(i: int, x_t: Tensor, x0: Tensor, v: Tensor) -> Tensor:
        bar, previous, beta = process.bars[i], process.previous[i], process.betas[i]
        mean = math.sqrt(previous) * beta / (1 - bar) * x0 + math.sqrt(1 - beta) * (1 - previous) / (1 - bar) * x_t
        return mean if i == 0 else mean + (process.log_variance(i, v) / 2).exp() * next(draws)

    return _sample(network, noise, process, step)


@torch.no_grad()
def _sample(
    network: Network, noise: Tensor, process: Process, step: Callable[[int, Tensor, Tensor, Tensor], Tensor]
) -> Run:
    run, x_t = Run(), noise
    for i in reversed(range(len(process.timesteps))):
        eps, v = network(x_t, torch.full((len(noise),), process.timesteps[i])).chunk(2, dim=1)
        x0 = (x_t - math.sqrt(1 - process.bars[i]) * eps) / math.sqrt(process.bars[i])
        run.x_t.append(x_t)
        run.x0.append(x0.clamp(-1, 1))
        run.v.append(v)
        x_t = step(i, x_t, run.x0[-1], v)
    run.end = x_t
    return run


def guided(null: Tensor, conditions: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Network outputs combined: ε = ε∅ + Σ w (ε_i − ε∅), with the v of the first condition."""
    eps_null = null.chunk(2, dim=1)[0]
    eps = eps_null + sum(weight * (output.chunk(2, dim=1)[0] - eps_null) for weight, output in conditions)
    return torch.cat([eps, conditions[0][1].chunk(2, dim=1)[1]], dim=1)


FACE_WEIGHTS = (
    {"face": 1.0, "hair": 1.0},
    {"face": 1.0, "text": 1.0},
    {"hair": 1.0, "text": 1.0},
    {"face": 1.0, "hair": 1.0, "text": 1.25},
    {"sketch": 1.0},
    {"sketch": 0.6, "face": 1.2},
    {"sketch": 0.6, "face": 1.0, "hair": 1.0, "text": 1.25},
)
"""The paper's modality sets of faces, with the guidance weights of the published code."""
