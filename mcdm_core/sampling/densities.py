"""Tracks the experts' densities along the paths of samples, and weights the experts by them.

Every noised density obeys the heat equation in σ², so the change of log p_i along a path of the reverse process needs
no divergence (the Itô density estimator of Skreta et al.). In steps, by Bayes' rule,

    log p_i(x') − log p_i(x) = log p_i(x' | x) − log q(x | x'),

whose last term is the same for all experts. The mean of p_i(x' | x) is known: m_i = D_i + (σ'/σ)² (x − D_i). With a
common variance V, differences between experts change by

    Δ(log p_i − log p_j) = (‖x' − m_j‖² − ‖x' − m_i‖²)/2V.

V = σ² − σ'² is Itô's estimator itself, and exact for very wide data; σ'²(1 − σ'²/σ²) is exact for data that are points.
`forward_variance` lies between them and is exact for standard normal data. On Gaussians it was never the worst of the
three and mostly the best (docs/logic.md).

Skreta et al., "The Superposition of Diffusion Models Using the Itô Density Estimator", ICLR 2025 (arXiv 2412.17762).

To keep densities equal, the noise a drawn along the experts' differences has to be cancelled. A common V is right
where a path has noise of variance V in every direction. If each step cancels its own noise, no noise is left along the
differences, and log densities end ½ log(s_i/s_j) apart, where s are the variances of the data in that direction. If
the next step cancels it all, its variance is doubled there, and they end as far apart on the other side. Therefore
the share θ = √½ (`LEFT`) is left to the next step: x' − x then has θ(a' − a) along the differences, whose variance is
2θ² = 1 times that of a.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from ..product.coefficients import Coefficient
from ..product.equal import equal_density_weights
from ..product.logic import EQUAL, Combination, Logic
from ..product.weighted import add_weighted
from .ddpm import forward_variance
from .particles import log_weight_change

LEFT = math.sqrt(0.5)
"""θ, see above."""
FARTHEST = 3.0
"""Most standard deviations √V that closing a gap of densities may move a sample in a step; later steps do the rest."""


@dataclass(frozen=True, eq=False)
class Step:
    """An ancestral step.

    Attributes:
        sigma: σ.
        sigma_next: σ', below σ or the same.
        added: x' − m_r, the step's noise, where it is drawn before the predictions; shape (B, …).
    """

    sigma: float
    sigma_next: float
    added: Tensor | None = None

    @property
    def mean_gain(self) -> float:
        """∂m_i/∂D_i, how much a mean moves with its prediction."""
        return 1 - (self.sigma_next / self.sigma) ** 2

    @property
    def variance(self) -> float:
        """V; 0 where σ' = σ."""
        return forward_variance(self.sigma, self.sigma_next)


class TrackedDensities:
    """Log densities of experts along the paths of a batch, relative to the sampled density r; 0 at the start.

    Args:
        logic: How densities are combined.
        like: A sample of the batch, shape (B, …).
        area: How much each value counts in densities and weights, 0…1, broadcasts to the sample; None counts all alike.

    Attributes:
        logs: log p_i − log r up to a constant by the index of the expert, shape (B,), in float64 on the CPU. Where
            densities are kept equal, log r is the mean over the experts of positive weight.
    """

    def __init__(self, logic: Logic, like: Tensor, area: Tensor | None = None):
        self.logs: dict[int, Tensor] = {}
        self._logic, self._area = logic, area
        self._kind, self._ndim = like.new_empty(0), like.ndim
        self._count = len(like)
        self._combination: Combination | None = None

    def weigh(self, step: Step, weights: Mapping[int, float], terms: Mapping[int, Tensor]) -> Mapping[int, Coefficient]:
        """Coefficients ω of the experts in a step from this point of the paths.

        Args:
            step: The step.
            weights: Signed weights of the experts that act, by index.
            terms: D_i by the same indices.

        Returns:
            ω by index, shape (B, 1, …); 1 for a single expert.

        Raises:
            ValueError: If a prediction is not finite, where densities are kept equal.
        """
        for i in weights.keys() - self.logs.keys():
            self.logs[i] = torch.zeros(self._count, dtype=torch.float64)
        found = self._logic.combine(self.logs, weights)
        if self._logic.operation == EQUAL and len(weights) > 1:
            found = replace(found, uniting=self._solved(found, terms, step))
        self._combination = found
        if len(weights) == 1:
            return dict.fromkeys(weights, 1.0)
        return self._shaped(found.weights)

    def weight_change(self, terms: Mapping[int, Tensor], step: Step) -> Tensor:
        """Δ log w of a step of AND or OR, with the coefficients ω of the last call of `weigh`.

        Where r = exp G(log p), it is ½ (Σ_ij G_ij ⟨s_i, s_j⟩ + ‖s_r‖² − Σ_i ω_i ‖s_i‖²)(σ² − σ'²). For the power mean q
        that is −½ (1 − e)(Σ_i ω_i ‖s_i‖² − ‖s_q‖²)(σ² − σ'²). A difference of densities only multiplies q's share by
        1 + m; where the difference is continued, it counts as a product does.

        Args:
            terms: D_i by index.
            step: The step.

        Returns:
            Shape (B,), in float64 on the CPU.
        """
        assert self._combination is not None
        found, given = self._combination, (step.sigma, step.sigma_next, self._area)
        uniting = self._shaped(found.uniting)
        inner = log_weight_change([(w, terms[i]) for i, w in uniting.items()], *given)
        change = (1 - self._logic.exponent) * (1 + found.counts) * inner
        if not found.reached.any():
            return change
        zero, excluding = torch.zeros_like(next(iter(terms.values()))), self._shaped(found.excluding)
        q, excluded = (add_weighted(zero, [terms[i] for i in of], [*of.values()]) for of in (uniting, excluding))
        counts = self._shaped({0: found.counts})[0]
        return change + found.reached * log_weight_change([(1 + counts, q), (-counts, excluded)], *given)

    def follow(self, added: Tensor, shifts: Mapping[int, Tensor], step: Step) -> None:
        """Update the log densities for a step that the batch has made.

        Args:
            added: x' − m_r, where m_r is the mean of the step that was sampled, shape (B, …).
            shifts: m_i − m_r by the index of the expert, of the same shape.
            step: The step.

        Raises:
            ValueError: If a prediction is not finite.
        """
        if step.variance == 0:  # σ' = σ
            return
        gained = self._inner(((shift, added - shift / 2) for shift in shifts.values()), step) / step.variance
        self.logs |= {i: self.logs[i] + gain for i, gain in zip(shifts, gained, strict=True)}
        if self._logic.operation == EQUAL and self._combination is not None:
            common = torch.stack([self.logs[i] for i in self._combination.uniting]).mean(0)
            self.logs |= {i: self.logs[i] - common for i in shifts}

    def resample(self, ancestors: Tensor) -> None:
        """Replace each sample's log densities with those of another.

        Args:
            ancestors: Index of the sample to take them from, shape (B,).
        """
        self.logs = {i: log[ancestors] for i, log in self.logs.items()}

    def _solved(self, found: Combination, terms: Mapping[int, Tensor], step: Step) -> dict[int, Tensor]:
        """Coefficients of the experts of positive weight that keep their densities equal, up to `LEFT` of the noise."""
        means = [step.mean_gain * terms[i] for i in found.uniting]  # up to a shift that all share
        middle = sum(means[1:], start=means[0]) / len(means)
        deviations = [mean - middle for mean in means]
        rest = torch.zeros_like(middle) if step.added is None else (1 - LEFT) * step.added
        pull = {j: found.counts * part for j, part in found.excluding.items()}
        for j, counts in self._shaped(pull).items():
            rest = rest - counts * (step.mean_gain * terms[j] - middle)
        inner = self._inner(product(deviations, [*deviations, rest]), step).T.reshape(self._count, len(means), -1)
        gaps = step.variance * torch.stack([self.logs[i] for i in found.uniting], 1)
        farthest = FARTHEST * math.sqrt(step.variance)
        solved = equal_density_weights(inner[..., :-1], inner[..., -1], gaps, 1 + found.counts, farthest)
        return dict(zip(found.uniting, solved.T, strict=True))

    def _inner(self, pairs: Iterable[tuple[Tensor, Tensor]], step: Step) -> Tensor:
        """⟨one, other⟩ of each pair, weighted by `area`, shape (number of pairs, B), in float64 on the CPU."""
        products = (one * other for one, other in pairs)
        counted = products if self._area is None else (self._area * each for each in products)
        found = torch.stack([each.flatten(1).sum(1) for each in counted]).cpu().double()
        if not found.isfinite().all():
            raise ValueError(
                f"Expected finite predictions to track densities by and got NaN or infinity at σ = {step.sigma:.4g}; "
                "lower the weights, or use a network of more precision."
            )
        return found

    def _shaped(self, values: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Tensors of shape (B,) reshaped to broadcast to the batch, with its dtype and device."""
        ones = [1] * (self._ndim - 1)
        return {i: value.to(self._kind).reshape(-1, *ones) for i, value in values.items()}
