"""Logic of experts in plain loops over pictures, written from `docs/logic.md`."""

import math
from itertools import pairwise

import torch


class PlainLogic:
    """Weights of experts by the logs of their densities; at most one expert, the last, is excluded.

    Args:
        operation: `and`, `or` or `equal`.
        sharpness: λ.
        priors: Prior of each expert; the excluded one's is relative to all others together.
        largest: Largest weight of the excluded expert.
        weights: Weights of the experts; one below 0 is excluded.

    Attributes:
        reached: Set of whether `largest` was reached, over all calls of `combine`.
    """

    def __init__(self, operation, sharpness, priors, largest, weights):
        self.exponent = sharpness if operation == "or" else -sharpness
        self.priors, self.largest = priors, largest
        self.positive = [k for k, w in enumerate(weights) if w > 0]
        self.excludes = len(self.positive) < len(weights)
        self.of_means = operation == "equal"
        self.meets = self.of_means and len(self.positive) == 2
        self.reached = set()

    def combine(self, logs):
        """The other experts' shares, the weight of the excluded one, and whether that is `largest`.

        Args:
            logs: Logs of the experts' densities of one picture.
        """
        e, total = self.exponent, sum(self.priors[k] for k in self.positive)
        top = max(e * logs[k] for k in self.positive)
        parts = {k: self.priors[k] / total * math.exp(e * logs[k] - top) for k in self.positive}
        inner = {k: part / sum(parts.values()) for k, part in parts.items()}
        if not self.excludes:
            return inner, 0.0, False
        log_q = (math.log(sum(parts.values())) + top) / e
        if self.of_means:
            log_q = sum(logs[k] for k in self.positive) / len(self.positive)
        odds = self.priors[-1] * math.exp(min(logs[-1] - log_q, 100.0))
        reached = odds >= self.largest / (1 + self.largest)
        self.reached.add(reached)
        return inner, self.largest if reached else odds / (1 - odds), reached

    def meet(self, m, d, logs, drawn, sigma, after):
        """Shares of two experts that make their densities equal again, but for √½ of the drawn noise's effect."""
        kept = 1 - (after / sigma) ** 2
        middle, half = (kept * (d[0] + sign * d[1]) / 2 for sign in (1, -1))
        rest = (1 - math.sqrt(0.5)) * drawn - (m * (kept * d[-1] - middle) if m else 0.0)
        lag = own_variance(sigma, after) * (logs[1] - logs[0]) / 2 - float((rest * half).sum())
        more = lag / (2 * (1 + m) * float((half * half).sum()))
        return {k: 0.5 + sign * more for k, sign in zip(self.positive, (1, -1), strict=True)}


def own_variance(sigma, after):
    """Variance of a step from σ to the next level, by an expert's own density."""
    return (sigma**2 - after**2) * (1 + after**2) / (1 + sigma**2)


def sample_plain_logic(x, sigmas, asked, logic, generator, particles=None, clamp=lambda x0: x0):
    """Ancestral steps by a logic of experts, tracking the logs of the experts' densities.

    Args:
        x: Noise, shape (B, C, H, W).
        sigmas: Noise levels, the last 0.
        asked: Maps x and σ to each expert's x0 at its own weight, in float64.
        logic: The logic.
        generator: Draws the noise.
        particles: Weights of corrected samples.
        clamp: Applied to the combined x0.
    """
    tracked = [[0.0 for _ in logic.priors] for _ in x]
    for sigma, after in pairwise(sigmas):
        kept = (after / sigma) ** 2
        deviation = after * math.sqrt(1 - kept)

        def noise(like, deviation=deviation):
            return deviation * torch.randn(like.shape, dtype=like.dtype, generator=generator)

        drawn = noise(x) if logic.meets and after else torch.zeros_like(x)
        moved, changes = [], []
        for row, d in enumerate(zip(*asked(x, sigma), strict=True)):
            start = x[row].double()
            inner, m, reached = logic.combine(tracked[row])
            if logic.meets:
                inner = logic.meet(m, d, tracked[row], drawn[row].double(), sigma, after)
            q = sum(share * d[k] for k, share in inner.items())
            raw = (1 + m) * q - m * d[-1] if m else q
            change = -(1 - logic.exponent) * (1 + m) * sum(s * (d[k] - q).square().sum() for k, s in inner.items())
            if reached:
                change -= (1 + m) * (q - raw).square().sum() - m * (d[-1] - raw).square().sum()
            changes.append((1 - after / sigma) / sigma**2 * float(change))
            mean, *own = (x0 + kept * (start - x0) for x0 in (clamp(raw), *d))
            moved.append((mean, own, tracked[row]))
        if particles:
            moved = [moved[row] for row in particles.step(changes, after)]
        x = torch.stack([mean for mean, _, _ in moved]).to(x.dtype)
        tracked = [list(logs) for _, _, logs in moved]
        if after > 0:
            x = x + (drawn if logic.meets else noise(x))
            for row, (mean, own, _) in enumerate(moved):
                for k, centre in enumerate(own):
                    gained = (x[row] - mean).square().sum() - (x[row] - centre).square().sum()
                    tracked[row][k] += float(gained) / (2 * own_variance(sigma, after))
    return x
