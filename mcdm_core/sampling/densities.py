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
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..diffusion.schedule import per_row
from ..product.rules.coefficients import Coefficient
from .ddpm import forward_variance
from .operations import Logic


class TrackedDensities:
    """Log densities of experts along the paths of a batch, relative to the sampled density r; 0 at the start.

    Args:
        logic: How densities are combined.
        like: A sample of the batch, shape (B, …).
        area: How much each value counts in densities, 0…1, broadcasts to the sample; None counts all alike.

    Attributes:
        logs: log p_i − log r up to a constant by the index of the expert, shape (B,), in float64 on the CPU.
    """

    def __init__(self, logic: Logic, like: Tensor, area: Tensor | None = None):
        self.logs: dict[int, Tensor] = {}
        self._logic, self._area = logic, area
        self._like = like.new_empty(len(like), *[0] * (like.ndim - 1))  # without its values

    def weigh(self, weights: Mapping[int, float], terms: Mapping[int, Tensor]) -> Mapping[int, Coefficient]:
        """Coefficients ω of the experts in a step from this point of the paths.

        Args:
            weights: Signed weights of the experts that act, by index.
            terms: D_i by the same indices.

        Returns:
            ω by index, shape (B, 1, …); 1 for a single expert.
        """
        for i in weights.keys() - self.logs.keys():
            self.logs[i] = torch.zeros(len(self._like), dtype=torch.float64)
        counts = self._logic.combine(self.logs, weights)
        if len(weights) == 1:
            return dict.fromkeys(weights, 1.0)
        return {i: per_row(count, self._like) for i, count in counts.items()}

    def follow(self, added: Tensor, shifts: Mapping[int, Tensor], sigma: float, sigma_next: float) -> None:
        """Update the log densities for a step that the batch has made.

        Args:
            added: x' − m_r, where m_r is the mean of the step that was sampled, shape (B, …).
            shifts: m_i − m_r by the index of the expert, of the same shape.
            sigma: σ.
            sigma_next: σ', below σ or the same.

        Raises:
            ValueError: If a prediction is not finite.
        """
        variance = forward_variance(sigma, sigma_next)  # V
        if variance == 0:  # σ' = σ
            return
        multiplied = (shift * (added - shift / 2) for shift in shifts.values())
        counted = multiplied if self._area is None else (self._area * each for each in multiplied)
        sums = torch.stack([each.flatten(1).sum(1) for each in counted]).cpu().double()
        if not sums.isfinite().all():
            raise ValueError(
                f"Expected finite predictions to track densities by and got NaN or infinity at σ = {sigma:.4g}; "
                "lower the weights, or use a network of more precision."
            )
        self.logs |= {i: self.logs[i] + gain for i, gain in zip(shifts, sums / variance, strict=True)}
