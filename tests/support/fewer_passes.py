"""Fewer passes in plain loops, written from `docs/fewer-passes.md`: which predictions are replaced, and by what.

All predictions are made, and those that would have been left out are dropped.
"""

import math
from itertools import pairwise

import torch


def unguided(weights):
    """Outside the guidance interval: positive weights divided by their sum, 0 for the others."""
    positive = [max(weight, 0.0) for weight in weights]
    return [weight / sum(positive) for weight in positive]


def factor(curve, share):
    """A weight curve at a share of the sampling."""
    if share <= curve[0][0]:
        return curve[0][1]
    for place in range(len(curve) - 1):
        (left, low), (right, high) = curve[place], curve[place + 1]
        if share <= right:
            return low * (right - share) / (right - left) + high * (share - left) / (right - left)
    return curve[-1][1]


def cosine(first, second):
    """The smallest cosine of any picture in a batch."""
    found = []
    for a, b in zip(first.double(), second.double(), strict=True):
        found.append(float((a * b).sum() / (a * a).sum().sqrt() / (b * b).sum().sqrt()))
    return min(found)


class Remembering:
    """A run: `call` returns the predictions that the product uses, and appends to `asked` how many were not left out.

    Args:
        levels: Noise levels of the run.
        threshold: Threshold of the cosine.
        refresh: Largest number of steps from one full step to the next.
    """

    def __init__(self, levels, threshold=1.0, refresh=1):
        self.levels = [float(level) for level in levels]
        self.threshold, self.refresh = threshold, refresh
        self.asked = []
        self.full = None

    def call(self, sigma, noise, cond, null, null_of):
        """One call of the sampler.

        Args:
            sigma: Noise level in the run's form.
            noise: Noise level in the form x0 + σ·n.
            cond: Expert → its prediction under its condition, in the order of the chain.
            null: Expert → its prediction under its null, once for all experts that share it.
            null_of: Expert → the expert in `null` that has its null.
        """
        step = len([level for level in self.levels if level > sigma * (1 - 1e-4)])
        spread = noise / math.sqrt(1 + noise**2) if noise < math.inf else 1.0
        kind = (list(cond), list(null))
        if self.full is None or self.full["kind"] != kind or not 1 <= step - self.full["step"] < self.refresh:
            self._keep(step, kind, spread, cond, null, null_of)
            self.asked.append(len(cond) + len(null))
            return cond, null
        before, without = self.full, self.full["without"]
        self.asked.append(len(cond) + len(null) - len(without))
        nulls = dict(null)
        for j in without:
            own = next(i for i in cond if null_of[i] == j)
            nulls[j] = cond[own] + spread / before["spread"] * (before["null"][j] - before["cond"][own])
        return cond, nulls

    def _keep(self, step, kind, spread, cond, null, null_of):
        without = []
        for j in null:
            own = [i for i in cond if null_of[i] == j]
            if own and self.threshold < 1 and min(cosine(cond[i], null[j]) for i in own) > self.threshold:
                without.append(j)
        self.full = {"step": step, "kind": kind, "spread": spread, "cond": dict(cond), "null": dict(null)}
        self.full["without"] = without


@torch.no_grad()
def sample_heun(denoiser, x, sigmas, *, generator=None, callback=None):
    """Heun's method, which evaluates twice in every step but the last (Karras et al. 2022, algorithm 1)."""
    levels = [float(sigma) for sigma in sigmas]
    for sigma, following in pairwise(levels):
        slope = (x - denoiser(x, sigma)) / sigma
        ahead = x + (following - sigma) * slope
        if following > 0:
            slope = (slope + (ahead - denoiser(ahead, following)) / following) / 2
        x = x + (following - sigma) * slope
    return x
