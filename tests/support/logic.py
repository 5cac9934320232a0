"""Logic of experts in plain loops over pictures, written from `docs/logic.md`."""

import math
from itertools import pairwise

import torch


class PlainLogic:
    """Weights of experts by the logs of their densities; at most one expert, the last, is excluded.

    Args:
        operation: `and` or `or`.
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
        self.reached = set()

    def combine(self, logs):
        """The other experts' shares, and the weight of the excluded one.

        Args:
            logs: Logs of the experts' densities of one picture.
        """
        e, total = self.exponent, sum(self.priors[k] for k in self.positive)
        top = max(e * logs[k] for k in self.positive)
        parts = {k: self.priors[k] / total * math.exp(e * logs[k] - top) for k in self.positive}
        inner = {k: part / sum(parts.values()) for k, part in parts.items()}
        if not self.excludes:
            return inner, 0.0
        log_q = (math.log(sum(parts.values())) + top) / e
        odds = self.priors[-1] * math.exp(min(logs[-1] - log_q, 100.0))
        reached = odds >= self.largest / (1 + self.largest)
        self.reached.add(reached)
        return inner, self.largest if reached else odds / (1 - odds)


def own_variance(sigma, after):
    """Variance of a step from σ to the next level, by an expert's own density."""
    return (sigma**2 - after**2) * (1 + after**2) / (1 + sigma**2)


def sample_plain_logic(x, sigmas, asked, logic, generator, clamp=lambda x0: x0):
    """Ancestral steps by a logic of experts, tracking the logs of the experts' densities.

    Args:
        x: Noise, shape (B, C, H, W).
        sigmas: Noise levels, the last 0.
        asked: Maps x and σ to each expert's x0 at its own weight, in float64.
        logic: The logic.
        generator: Draws the noise.
        clamp: Applied to the combined x0.
    """
    tracked = [[0.0 for _ in logic.priors] for _ in x]
    for sigma, after in pairwise(sigmas):
        kept = (after / sigma) ** 2
        deviation = after * math.sqrt(1 - kept)

        moved = []
        for row, d in enumerate(zip(*asked(x, sigma), strict=True)):
            start = x[row].double()
            inner, m = logic.combine(tracked[row])
            q = sum(share * d[k] for k, share in inner.items())
            raw = (1 + m) * q - m * d[-1] if m else q
            mean, *own = (x0 + kept * (start - x0) for x0 in (clamp(raw), *d))
            moved.append((mean, own))
        x = torch.stack([mean for mean, _ in moved]).to(x.dtype)
        if after > 0:
            x = x + deviation * torch.randn(x.shape, dtype=x.dtype, generator=generator).to(x)
            for row, (mean, own) in enumerate(moved):
                for k, centre in enumerate(own):
                    gained = (x[row] - mean).square().sum() - (x[row] - centre).square().sum()
                    tracked[row][k] += float(gained) / (2 * own_variance(sigma, after))
    return x
