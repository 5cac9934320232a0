"""Logic of experts: their densities united (OR), intersected (AND), and excluded (NOT).

The power mean with exponent e of the experts' densities p_i, with priors π_i, Σ π_i = 1, is

    q = (Σ_i π_i p_i^e)^(1/e).

At e = λ > 0 it is OR (e = 1 is the mixture), at e = −λ AND: small wherever one of them is (λ = 1 is their harmonic
mean). Dombi's fuzzy logic has the same operations up to a constant. NOT subtracts densities p_j: r = q − Σ_j π_j p_j.
∇ log r is Σ ω_i ∇ log p_i with ω_i = ∂ log r/∂ log p_i, which sum to 1, so predictions of x0 combine alike.

References:
    Blohm & Garg, "Composition of Pretrained Diffusion Models: A Logic-Based Calculus", ICLR 2026 (AND, OR).
    Koulischer et al., "Dynamic Negative Guidance of Diffusion Models", ICLR 2025 (arXiv 2410.14398; NOT).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

AND, OR = OPERATIONS = ("and", "or")


@dataclass(frozen=True, kw_only=True)
class Logic:
    """How the experts' densities are combined; those of experts of negative weight are excluded (NOT).

    Attributes:
        operation: "and" or "or", among the experts of positive weight.
        sharpness: λ > 0; the larger, the closer AND is to the smallest density and OR to the largest.
        priors: π_i > 0 of all experts, in order. Those of experts of positive weight are divided by their sum. That of
            an expert of negative weight, below 1, is the part of the others' samples that is taken to be its own.
            Empty is 1 for experts of positive weight and `excluded` for the others.
        excluded: π of each expert of negative weight where there are no priors.
        largest: Largest total coefficient of the excluded experts, −Σ ω_j, 0 or more; at 0 nothing is excluded. Where
            it would be larger, r is continued by q^(1 + c)/(Σ_j π_j p_j)^c for this c, smoothly and above 0.

    Raises:
        ValueError: If one cannot be used.
    """

    operation: str = AND
    sharpness: float = 1.0
    priors: tuple[float, ...] = ()
    excluded: float = 0.5
    largest: float = 2.0

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"Expected an operation of {', '.join(OPERATIONS)}, and got {self.operation}; choose one.")
        if not 0 < self.sharpness < math.inf:  # NaN as well
            raise ValueError(f"Expected a sharpness above 0 and got {self.sharpness:g}; set one, such as 1.")
        for prior in (*self.priors, self.excluded):
            if not 0 < prior < math.inf:
                raise ValueError(f"Expected a prior above 0 and got {prior:g}; set one, such as 0.5.")
        if not 0 <= self.largest < math.inf:
            raise ValueError(
                f"Expected largest, the most that excluded experts count, to be 0 or more and got {self.largest:g}; "
                "set one, such as 2, or 0 to exclude nothing."
            )

    @property
    def exponent(self) -> float:
        """The power mean's e."""
        return self.sharpness if self.operation == OR else -self.sharpness

    def combine(self, logs: Mapping[int, Tensor], weights: Mapping[int, float]) -> dict[int, Tensor]:
        """The experts' coefficients.

        Args:
            logs: Log densities of experts by index, up to a constant that all share, shape (B,).
            weights: The signed weights of the experts that act; at least one is above 0.

        Returns:
            ω by index, shape (B,); they sum to 1. Those of the excluded experts sum to −m, 0 ≤ m ≤ `largest`.

        Raises:
            ValueError: If there are fewer priors than experts.
        """
        log_q, inner = self._unite(logs, {i: math.log(self._prior(i, w)) for i, w in weights.items() if w > 0})
        excluding = {i: math.log(self._prior(i, w)) for i, w in weights.items() if w < 0}
        if not excluding:
            return inner
        excluded = torch.stack([logs[j] + prior for j, prior in excluding.items()])
        part = (excluded.logsumexp(0) - log_q).exp()
        reached = part * (1 + self.largest) >= self.largest
        counts = torch.where(reached, self.largest, part / (1 - part))
        outer = zip(excluding, excluded.softmax(0), strict=True)
        return {i: (1 + counts) * w for i, w in inner.items()} | {j: -counts * w for j, w in outer}

    def _unite(self, logs: Mapping[int, Tensor], log_priors: Mapping[int, float]) -> tuple[Tensor, dict[int, Tensor]]:
        """Log q, and in it the coefficients of the experts of positive weight."""
        e = self.exponent
        united = torch.stack([e * logs[i] + prior for i, prior in log_priors.items()])
        total = math.log(sum(math.exp(prior) for prior in log_priors.values()))
        return (united.logsumexp(0) - total) / e, dict(zip(log_priors, united.softmax(0), strict=True))

    def _prior(self, index: int, weight: float) -> float:
        if not self.priors:
            return 1.0 if weight > 0 else self.excluded
        if index >= len(self.priors):
            raise ValueError(
                f"Expected a prior for each expert and got {len(self.priors)} of them for expert {index + 1}; give as "
                "many as there are experts, or none."
            )
        return self.priors[index]


HARMONIC = Logic()
"""The harmonic mean of the densities: AND with λ = 1."""
