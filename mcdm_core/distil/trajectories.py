"""Trajectories along which the product is evaluated: their noise levels, and the points that they pass."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..sampling.ddim import sample_ddim
from ..sampling.run import first_sample
from ..sampling.types import Denoiser
from .roles import Level, Teacher

_FIRST = 1e-3  # progress at which a run begins where the first level is infinite, as a flow's; then no other is


class Points(NamedTuple):
    """What the product answered at points of trajectories, on the CPU.

    Attributes:
        x: x0 + σ·n, shape (N, …).
        sigma: σ, shape (N,).
        x0: The product's prediction, shape of x.
        prompts: Indices of the prompts, int64, shape (N,).
    """

    x: Tensor
    sigma: Tensor
    x0: Tensor
    prompts: Tensor

    def take(self, rows: Tensor) -> "Points":
        """The points of these indices, int64, shape (B,)."""
        return Points(*(values[rows] for values in self))


def draw_levels(count: int, level: Level, generator: torch.Generator) -> list[float]:
    """Noise levels of a run of `count` steps, descending, and 0.

    The first is that of all noise. Of the others, one is drawn from each of equal parts of the sampling's progress, so
    that the student is trained at every level, and not at those of one number of steps.
    """
    drawn = torch.rand(count - 1, generator=generator, dtype=torch.float64)
    progress = ((torch.arange(count - 1) + drawn) / max(count - 1, 1)).tolist()
    levels = [highest(level), *(level(_FIRST + (1 - _FIRST) * each) for each in progress)]
    return [*(sigma for sigma in sorted(set(levels), reverse=True) if sigma > 0), 0.0]


def highest(level: Level) -> float:
    """The noise level at which runs begin."""
    sigma = level(0.0)
    return sigma if math.isfinite(sigma) else level(_FIRST)


def walk(
    teacher: Teacher,
    noise: Tensor,
    sigmas: Sequence[float],
    prompts: Tensor,
    *,
    student: Denoiser | None = None,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Points:
    """Evaluate the product along trajectories of DDIM.

    Args:
        teacher: The product. It is evaluated where the student went once the student is there, so that a device need
            not hold both at a time.
        noise: Standard normal start noise, shape (B, …), on the device that both are on.
        sigmas: Noise levels, the last one 0.
        prompts: Prompt of each sample, shape (B,).
        student: Decides where the trajectories go; None leaves that to the product.
        eta: η of DDIM.
        generator: Source of the noise that is added.

    Returns:
        Points of all levels but the last.
    """

    def went(denoiser: Denoiser, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The samples and x0 at each level."""
        found: list[tuple[Tensor, Tensor]] = []

        def followed(x: Tensor, sigma: Tensor | float) -> Tensor:
            x0 = denoiser(x, sigma)
            found.append((x.cpu(), x0.cpu()))
            return x0

        sample_ddim(followed, first_sample(noise[rows], sigmas[0]), sigmas, generator=generator, eta=eta)
        return found

    parts: list[Points] = []
    own = None if student is None else went(student, torch.arange(len(noise)))

    def within(denoiser: Denoiser, rows: Tensor) -> None:
        if own is None:
            found = went(denoiser, rows)
        else:
            places = [(x[rows], sigma) for (x, _), sigma in zip(own, sigmas, strict=False)]
            found = [(x, denoiser(x.to(noise.device), sigma).cpu()) for x, sigma in places]
        xs, x0s = (torch.cat(values) for values in zip(*found, strict=True))
        levels = torch.tensor(sigmas[:-1], dtype=noise.dtype).repeat_interleave(len(rows))
        parts.append(Points(xs, levels, x0s, prompts.cpu()[rows].repeat(len(found))))

    teacher(prompts, sigmas, within)
    return joined(parts)


def joined(parts: Sequence[Points]) -> Points:
    """The points of all parts in sequence."""
    return Points(*(torch.cat(values) for values in zip(*parts, strict=True)))
