"""How the densities of experts change along the paths of samples, and what each counts for that.

Every noised density obeys the heat equation in σ², so along a path of the reverse process no divergence is needed to
know how log p_i changes (the Itô density estimator of Skreta et al.). In steps, by Bayes' rule,

    log p_i(x') − log p_i(x) = log p_i(x' | x) − log q(x | x'),

whose last term is the same for all experts. Of p_i(x' | x) the mean is known, m_i = D_i + (σ'/σ)² (x − D_i). With a
variance V that is common to them differences between experts change by

    Δ(log p_i − log p_j) = (‖x' − m_j‖² − ‖x' − m_i‖²)/2V.

V = σ² − σ'² is Itô's estimator itself, and exact for very wide data; σ'²(1 − σ'²/σ²) is exact for data that are points.
`forward_variance` is between them, exact for standard normal data, and of the three never the worst and mostly the
nearest where Gaussians tell (docs/logic.md).

Skreta et al., "The Superposition of Diffusion Models Using the Itô Density Estimator", ICLR 2025 (arXiv 2412.17762).

To keep densities equal, what is drawn along the experts' differences has to be taken back. A common V is right where a
path has the noise of V in every direction. With all of it taken back in its own step none is left there, and densities
end ½ log(s_i/s_j) apart for variances s of the data along that direction; with all of it taken back one step later
twice as much, and they end as far apart on the other side. `LEFT` of it is left to the next step, θ = √½: x' − x then
has θ(a' − a) along it, of the variance 2θ² = 1 times that of a.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..product.coefficients import Coefficient
from ..product.equal import equal_shares
from ..product.logic import EQUAL, Combination, Logic
from ..product.weighted import add_weighted
from .ddpm import forward_variance
from .particles import log_weight_change

LEFT = math.sqrt(0.5)
"""θ, see above."""


@dataclass(frozen=True, eq=False)
class Step:
    """An ancestral step.

    Attributes:
        sigma: σ.
        sigma_next: σ', below σ or the same.
        added: x' − m_r, the noise of it, where that is known before its predictions; shape (B, …).
    """

    sigma: float
    sigma_next: float
    added: Tensor | None = None

    @property
    def share(self) -> float:
        """By how much a mean moves with a prediction, ∂m_i/∂D_i."""
        return 1 - (self.sigma_next / self.sigma) ** 2

    @property
    def variance(self) -> float:
        """V; 0 at a level that is visited twice."""
        return forward_variance(self.sigma, self.sigma_next)


class TrackedDensities:
    """Log densities of experts along the paths of a batch, relative to that of what is sampled; 0 at the start.

    Args:
        logic: How they are combined.
        like: A sample of the batch, shape (B, …).
        area: How much each value counts in densities and weights, 0…1, broadcasts to the sample; None counts all alike.

    Attributes:
        step: The step that is being made; to be set before the others are called.
        logs: log p_i − log r up to a constant by the index of the expert, shape (B,), in float64 on the CPU. Where
            densities are kept equal, r is that of the experts of positive weight.
    """

    step: Step

    def __init__(self, logic: Logic, like: Tensor, area: Tensor | None = None):
        self.logs: dict[int, Tensor] = {}
        self._logic, self._area = logic, area
        self._kind, self._ndim = like.new_empty(0), like.ndim
        self._count = len(like)
        self._combination: Combination | None = None

    def weigh(self, weights: Mapping[int, float], terms: Mapping[int, Tensor]) -> Mapping[int, Coefficient]:
        """What each expert counts at this point of the paths.

        Args:
            weights: The signed weights of those that act.
            terms: D_i by the same indices.

        Returns:
            ω by index, shape (B, 1, …); 1 for a single one.

        Raises:
            ValueError: If what is solved for isn't finite.
        """
        for i in weights.keys() - self.logs.keys():
            self.logs[i] = torch.zeros(self._count, dtype=torch.float64)
        found = self._logic.combine(self.logs, weights)
        if self._logic.operation == EQUAL and len(weights) > 1:
            found = replace(found, uniting=self._solved(found, terms))
        self._combination = found
        if len(weights) == 1:
            return dict.fromkeys(weights, 1.0)
        return self._shaped(found.weights)

    def weight_change(self, terms: Mapping[int, Tensor]) -> Tensor:
        """Δ log w of the step, with what each expert counts as `weigh` said last.

        Where r = exp G(log p), it is ½ (Σ_ij G_ij ⟨s_i, s_j⟩ + ‖s_r‖² − Σ_i ω_i ‖s_i‖²)(σ² − σ'²). For the power mean q
        that is −½ (1 − e)(Σ_i ω_i ‖s_i‖² − ‖s_q‖²)(σ² − σ'²). A difference of densities adds nothing to q's share of
        it, (1 + m) times as much, but where it is continued it counts as a product does.

        Args:
            terms: D_i by index.

        Returns:
            Shape (B,), in float64 on the CPU.
        """
        assert self._combination is not None
        found, step = self._combination, (self.step.sigma, self.step.sigma_next, self._area)
        uniting = self._shaped(found.uniting)
        inner = log_weight_change([(w, terms[i]) for i, w in uniting.items()], *step)
        change = (1 - self._logic.exponent) * (1 + found.counts) * inner
        if not found.reached.any():
            return change
        zero, excluding = torch.zeros_like(next(iter(terms.values()))), self._shaped(found.excluding)
        q, excluded = (add_weighted(zero, [terms[i] for i in of], [*of.values()]) for of in (uniting, excluding))
        counts = self._shaped({0: found.counts})[0]
        return change + found.reached * log_weight_change([(1 + counts, q), (-counts, excluded)], *step)

    def follow(self, added: Tensor, shifts: Mapping[int, Tensor]) -> None:
        """Take the step that the batch made.

        Args:
            added: x' − m_r, where m_r is the mean of the step of what is sampled, shape (B, …).
            shifts: m_i − m_r by the index of the expert, of the same shape.

        Raises:
            ValueError: If a prediction is not finite.
        """
        variance = self.step.variance
        if variance == 0:  # a level that is visited twice
            return
        for i, shift in shifts.items():
            self.logs[i] = self.logs[i] + self._finite(self._inner(shift, added - shift / 2)) / variance
        if self._logic.operation == EQUAL and self._combination is not None:
            common = torch.stack([self.logs[i] for i in self._combination.uniting]).mean(0)
            self.logs |= {i: self.logs[i] - common for i in shifts}

    def resample(self, ancestors: Tensor) -> None:
        """Let samples of the batch go on as others.

        Args:
            ancestors: Which sample each is from now on, shape (B,).
        """
        self.logs = {i: log[ancestors] for i, log in self.logs.items()}

    def _solved(self, found: Combination, terms: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """What those of positive weight count, so that they are equally likely but for `LEFT` of the step's noise."""
        means = [self.step.share * terms[i] for i in found.uniting]  # up to a shift that all share
        middle = sum(means[1:], start=means[0]) / len(means)
        rest = torch.zeros_like(middle) if self.step.added is None else (1 - LEFT) * self.step.added
        for j, share in self._shaped(found.excluding).items():
            counts = self._shaped({j: found.counts})[j] * share
            rest = rest - counts * (self.step.share * terms[j] - middle)
        deviations = [mean - middle for mean in means]
        products = torch.stack([torch.stack([self._inner(one, other) for other in deviations]) for one in deviations])
        along = torch.stack([self._inner(one, rest) for one in deviations])
        gaps = self.step.variance * torch.stack([self.logs[i] for i in found.uniting])
        strength = 1 + found.counts
        solved = equal_shares(self._finite(products).permute(2, 0, 1), self._finite(along).T, gaps.T, strength)
        return dict(zip(found.uniting, solved.T, strict=True))

    def _inner(self, one: Tensor, other: Tensor) -> Tensor:
        """⟨one, other⟩ of each sample over what counts, shape (B,), in float64 on the CPU."""
        product = one * other
        counted = product if self._area is None else self._area * product
        return counted.flatten(1).sum(1).cpu().double()

    def _finite(self, found: Tensor) -> Tensor:
        if not found.isfinite().all():
            raise ValueError(
                "Expected finite predictions to track densities by and got NaN or infinity at σ = "
                f"{self.step.sigma:.4g}; lower the weights, or use a network of more precision."
            )
        return found

    def _shaped(self, of: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Numbers (B,) as they broadcast to the batch."""
        ones = [1] * (self._ndim - 1)
        return {i: number.to(self._kind).reshape(-1, *ones) for i, number in of.items()}
