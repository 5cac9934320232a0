"""Particles in plain loops over pictures: their weights, and which of them are kept."""

import math
from itertools import pairwise

import torch


class Particles:
    """Log weights of the particles of a run.

    Args:
        count: Number of particles.
        below: Share of `count`; they are resampled when their effective number falls below it, and at the end.
        limit: Largest change of a log weight in one step.
        generator: Draws the offset of systematic resampling.
    """

    def __init__(self, count, below, limit, generator):
        self.logs, self.below, self.limit, self.generator = [0.0] * count, below, limit, generator
        self.resampled = 0

    def step(self, changes, after):
        """Indices of the particles to keep after a step that changed the log weights; all, if none are resampled."""
        count = len(self.logs)
        centre = sum(changes) / count
        self.logs = [
            log + max(-self.limit, min(self.limit, change - centre))
            for log, change in zip(self.logs, changes, strict=True)
        ]
        shares = [math.exp(log) / sum(map(math.exp, self.logs)) for log in self.logs]
        if 1 / sum(share**2 for share in shares) >= count * (1.0 if after == 0 else self.below) - 1e-6:
            return [*range(count)]
        offset, chosen = torch.rand((), dtype=torch.float64, generator=self.generator).item(), []
        for k in range(count):
            place = 0
            while sum(shares[: place + 1]) <= (k + offset) / count:
                place += 1
            chosen.append(place)
        self.logs = [0.0] * count
        self.resampled += 1
        return chosen


def sample_particles(x, sigmas, asked, particles):
    """Ancestral steps of particles whose log weights change by (h/σ)(‖ε_c‖² − Σ c_k ‖ε_k‖²).

    Args:
        x: Noise, shape (B, C, H, W).
        sigmas: Noise levels, the last 0.
        asked: Maps x and σ to x0 of the product, and to the coefficient and x0 of each of its terms.
        particles: The particles' weights.
    """
    for sigma, after in pairwise(sigmas):
        denoised, terms = asked(x, sigma)
        changes = []
        for row in range(len(x)):
            eps = [(c, (x[row].double() - x0[row].double()) / sigma) for c, x0 in terms]
            combined = sum(c * of for c, of in eps)
            value = combined.square().sum() - sum(c * of.square().sum() for c, of in eps)
            changes.append((sigma - after) / sigma * value.item())
        x = (denoised + (after / sigma) ** 2 * (x - denoised))[particles.step(changes, after)]
        if after > 0:
            drawn = torch.randn(x.shape, dtype=x.dtype, generator=particles.generator)
            x = x + after * math.sqrt(1 - (after / sigma) ** 2) * drawn
    return x
