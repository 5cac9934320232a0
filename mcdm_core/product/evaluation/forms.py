"""One noise level for experts whose samples have different forms (the paper's §7.2).

Samplers step the samples of most networks as x0 + σ·n, the form of the core's own, and those of rectified flows as
(1 − σ)·x0 + k·σ·n, with k = 1 for all but a few of them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...diffusion.schedule import align_noise_level, from_flow, to_flow
from .evaluation import NoiseLevel

FLOW_LIMIT = 1.0 - 1e-6  # at σ = 1 a flow's x holds no signal and its level is infinite in the other form


@dataclass(frozen=True)
class Form:
    """An expert's form of x at a noise level σ, and the range of its schedule.

    Attributes:
        flow: Whether x is (1 − σ)·x0 + k·σ·n; else it is x0 + σ·n.
        noise_scale: k; 1 where x is x0 + σ·n.
        sigma_min: The lowest level of the schedule.
        sigma_max: The highest.
    """

    flow: bool
    noise_scale: float
    sigma_min: float
    sigma_max: float

    def unbounded(self, sigma: float) -> float:
        """σ in the variance-exploding form, x0 + σ·n; of a flow, one near infinity at σ = 1."""
        return from_flow(min(sigma, FLOW_LIMIT), self.noise_scale) if self.flow else sigma


def align(
    x: Tensor, sigma: Tensor, level: NoiseLevel, reference: Form, expert: Form, kappa: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Convert a sample of the reference's run to another expert's form, at the nearest noise level that this one has.

    If both have the same form and range of levels, that is the sample itself at any σ: the network is asked beyond its
    schedule, as a run of it alone would ask it. Else its level is σ_i = clamp(σ/α, σ_min, σ_max), see
    `align_noise_level`.

    Args:
        x: Sample in the reference's form, shape (B, …).
        sigma: The reference's σ, equal entries, shape (B,).
        level: The same as a number, which is read only where forms differ.
        reference: Form of the reference expert.
        expert: Form of the expert to be asked.
        kappa: κ of a part of a joint sample, by which its signal and noise are multiplied; 1 of others.

    Returns:
        x and σ in the expert's form; the arguments themselves if nothing has to change.
    """
    if kappa == 1 and _same_point(level, reference, expert):
        return x, sigma
    return _convert(x if kappa == 1 else kappa * x, sigma, reference, expert, kappa)


def align_levels(sigmas: Tensor, reference: Form, expert: Form, kappa: float = 1.0) -> Tensor:
    """Noise levels of a run, shape (S,), in another expert's form; 0 stays 0. See `align` for κ."""
    aligned = sigmas.clone()  # bit for bit the levels that `align` gives, because networks look theirs up in here
    numbers = enumerate(sigmas.tolist())
    moved = [
        i for i, each in numbers if each > 0 and (kappa != 1 or not _same_point(NoiseLevel(each), reference, expert))
    ]
    if moved:
        _, aligned[moved] = _convert(sigmas.new_zeros(len(moved), 1), sigmas[moved], reference, expert, kappa)
    return aligned


def from_unbounded(x: Tensor, sigma: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """Convert x0 + σ·n to an expert's form, each row at the nearest noise level that it has.

    Args:
        x: Samples, shape (B, …).
        sigma: σ of each row, shape (B,).
        form: The expert's form.
    """
    return _convert(x, sigma, Form(False, 1.0, 0.0, math.inf), form, 1.0)


def _same_point(level: NoiseLevel, reference: Form, expert: Form) -> bool:
    """Whether the expert is asked about the reference's sample as it is."""
    alike = (reference.flow, reference.noise_scale) == (expert.flow, expert.noise_scale)
    return reference == expert or (alike and expert.sigma_min <= level.number <= expert.sigma_max)


def _convert(x: Tensor, sigma: Tensor, reference: Form, expert: Form, kappa: float) -> tuple[Tensor, Tensor]:
    """A sample and its σ in the expert's form at its nearest level, by way of the variance-exploding form."""
    low, high = expert.unbounded(expert.sigma_min), expert.unbounded(expert.sigma_max)
    rows = sigma.reshape(-1, *[1] * (x.ndim - 1))
    alpha = 1.0 - rows if reference.flow else torch.ones_like(rows)
    aligned, level = align_noise_level(x, kappa * reference.noise_scale * rows, low, high, alpha)
    if expert.flow:
        aligned, level = to_flow(aligned, level, expert.noise_scale)
    return aligned.to(x.dtype), level.reshape(sigma.shape).to(sigma.dtype)
