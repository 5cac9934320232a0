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
        tolerance: Tolerance of the change of an expert's guidance.
        refresh: Largest number of steps from one full step to the next.
    """

    def __init__(self, levels, threshold=1.0, tolerance=0.0, refresh=1):
        self.levels = [float(level) for level in levels]
        self.threshold, self.tolerance, self.refresh = threshold, tolerance, refresh
        self.asked = []
        self.full = None
        self.previous = None

    def call(self, sigma, noise, cond, null, null_of, unconditional):
        """One call of the sampler.

        Args:
            sigma: Noise level in the run's form.
            noise: Noise level in the form x0 + σ·n.
            cond: Expert → its prediction under its condition, in the order of the chain.
            null: Expert → its prediction under its null, once for all experts that share it.
            null_of: Expert → the expert in `null` that has its null.
            unconditional: Maps predictions under the nulls, and under the conditions, to U.
        """
        step = len([level for level in self.levels if level > sigma * (1 - 1e-4)])
        spread = noise / math.sqrt(1 + noise**2) if noise < math.inf else 1.0
        kind = (list(cond), list(null))
        if self.full is None or self.full["kind"] != kind or not 1 <= step - self.full["step"] < self.refresh:
            self._keep(step, kind, spread, cond, null, null_of, unconditional)
            self.asked.append(len(cond) + len(null))
            return cond, null
        before, without = self.full, self.full["without"]
        growth = spread / before["spread"]
        first = next(iter(cond))
        conditions, nulls, count = {}, {}, 0
        for i in cond:
            if ("condition", i) not in without:
                conditions[i] = cond[i]
                count += 1
        for j in null:
            if ("null", j) not in without:
                nulls[j] = null[j]
                count += 1
        self.asked.append(count)
        real, real_nulls = dict(conditions), dict(nulls)
        for i in cond:
            if i not in real and null_of[i] in real_nulls:
                j = null_of[i]
                conditions[i] = null[j] + growth * (before["cond"][i] - before["null"][j])
            elif i not in real:
                conditions[i] = cond[first] + growth * (before["cond"][i] - before["cond"][first])
        for j in null:
            if j not in real_nulls:
                near = [i for i in real if null_of[i] == j] or [first]
                nulls[j] = cond[near[0]] + growth * (before["null"][j] - before["cond"][near[0]])
        return {i: conditions[i] for i in cond}, {j: nulls[j] for j in null}

    def _keep(self, step, kind, spread, cond, null, null_of, unconditional):
        if self.full is not None and self.full["step"] != step:
            self.previous = self.full
        base = unconditional(null, cond)
        guidance = {i: (cond[i] - base) / spread for i in cond}
        without = set()
        for i in list(cond)[1:]:
            then = self.previous["guidance"].get(i) if self.previous else None
            if then is not None:
                changes = [float(c.norm()) for c in guidance[i] - then]
                sizes = [float(c.norm()) for c in guidance[i]]
                if all(change < self.tolerance * size for change, size in zip(changes, sizes, strict=True)):
                    without.add(("condition", i))
        for j in null:
            own = [i for i in cond if null_of[i] == j]
            if not own:
                continue
            steady = all(("condition", i) in without for i in own)
            similar = self.threshold < 1 and min(cosine(cond[i], null[j]) for i in own) > self.threshold
            if steady or similar:
                without.add(("null", j))
        self.full = {"step": step, "kind": kind, "spread": spread, "cond": dict(cond), "null": dict(null)}
        self.full |= {"guidance": guidance, "without": without}


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
