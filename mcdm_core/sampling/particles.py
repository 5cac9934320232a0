"""Particles: samples of a product that are weighted and resampled on the way, so that they follow the true product.

Skreta et al., "Feynman-Kac Correctors in Diffusion: Annealing, Guidance, and Product of Experts", ICML 2025. Each
noised density obeys the heat equation in σ², their product doesn't. Ancestral sampling follows the product's score; the
weights correct for the difference. Per step of size h = σ − σ' they change by

    Δ log w = (h/σ)(‖ε_c‖² − Σ_k c_k ‖ε_k‖²),  ε_c = Σ_k c_k ε_k,

which is −(h/σ) Σ_k c_k ‖D_k − D_c‖²/σ² in predictions of x0, because Σ_k c_k = 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..product.plan import Factor
from ..product.weighted import add_weighted
from ..product.windows import levels_of
from .ddpm import ddpm_mean, posterior_variance
from .noise import noise_like
from .types import Callback, Denoiser, FactorsDenoiser


@dataclass(frozen=True)
class Resampling:
    """Report of the particles in one step.

    Attributes:
        step: Number of the step, from 0.
        sigma: Noise level that the step began at.
        effective: Effective sample size before it, 1…B.
        ancestors: Index of the particle that each continues, shape (B,); None where none was resampled.
    """

    step: int
    sigma: float
    effective: float
    ancestors: Tensor | None


ResamplingReport = Callable[[Resampling], None]


def check_particles(count: int, resample_below: float, limit: float) -> None:
    """Refuse particles that cannot be weighted.

    Args:
        count: How many there are.
        resample_below: See `sample_particles`.
        limit: See `sample_particles`.

    Raises:
        ValueError: If there are fewer than two, or a number is out of range.
    """
    if count < 2:
        raise ValueError(
            f"Expected a batch of at least 2 samples, the particles, and got {count}; raise the size of the batch."
        )
    if not 0 <= resample_below <= 1:  # NaN as well
        raise ValueError(
            f"Expected a share of the particles, 0 to 1, to resample below and got {resample_below:g}; set one, such "
            "as 0.5."
        )
    if not 0 < limit < math.inf:
        raise ValueError(f"Expected a limit above 0 for the change of a log weight and got {limit:g}; set 1.")


def log_weight_change(factors: Sequence[Factor], sigma: float, sigma_next: float, area: Tensor | None = None) -> Tensor:
    """Δ log w of a step from σ to σ'; the constant that all particles share is left in.

    Args:
        factors: c_k, which sum to 1, and D_k of the product.
        sigma: σ.
        sigma_next: σ'.
        area: How much each value counts, 0…1, broadcasts to the sample; None counts all alike.

    Returns:
        Shape (B,), in float64 on the CPU, as not every accelerator has float64.
    """
    coefficients, predictions = zip(*factors, strict=True)
    zero = torch.zeros_like(predictions[0])
    combined = add_weighted(zero, predictions, coefficients)
    spread = add_weighted(zero, [(x0 - combined) ** 2 for x0 in predictions], coefficients)
    counted = spread if area is None else area * spread
    return -(1 - sigma_next / sigma) / sigma**2 * counted.flatten(1).sum(1).cpu().double()


def effective_size(log_weights: Tensor) -> float:
    """(Σ w)²/Σ w² of the particles, 1…B; log weights (B,), up to a constant."""
    weights = log_weights.softmax(0)
    return 1 / (weights**2).sum().item()


def systematic_ancestors(log_weights: Tensor, offset: float) -> Tensor:
    """Systematic resampling: each particle is continued B·w times, rounded up or down.

    Args:
        log_weights: Up to a constant, shape (B,).
        offset: Where in 0…1 the comb of B evenly spaced points begins.

    Returns:
        Indices of the particles that are continued, ascending, shape (B,).
    """
    count = len(log_weights)
    points = (torch.arange(count, dtype=torch.float64) + offset) / count
    ends = log_weights.double().softmax(0).cumsum(0)
    return torch.searchsorted(ends, points, right=True).clamp(max=count - 1)


class ParticleWeights:
    """Weights of a run's particles; resampling copies particles of large weight and drops those of small weight.

    Args:
        count: How many particles there are.
        resample_below: See `sample_particles`.
        limit: See `sample_particles`.
        generator: Source of the resampling.
        report: Called with every step's `Resampling`.

    Raises:
        ValueError: As `check_particles`.
    """

    def __init__(
        self,
        count: int,
        resample_below: float,
        limit: float,
        generator: torch.Generator | None = None,
        report: ResamplingReport | None = None,
    ):
        check_particles(count, resample_below, limit)
        self._below, self._limit = resample_below * count, limit
        self._generator, self._report = generator, report
        self._logs = torch.zeros(count, dtype=torch.float64)

    def add(self, change: Tensor, sigma: float) -> None:
        """Add a step's change to the log weights.

        Args:
            change: Δ log w up to a constant, shape (B,), float64 on the CPU.
            sigma: Noise level that the step begins at.

        Raises:
            ValueError: If a number is not finite.
        """
        if not change.isfinite().all():
            raise ValueError(
                f"Expected finite predictions to weigh the particles by and got NaN or infinity at σ = {sigma:.4g}; "
                "lower the weights, or use a network of more precision."
            )
        self._logs += (change - change.mean()).clamp(-self._limit, self._limit)

    def resample(self, step: int, sigma: float, last: bool) -> Tensor | None:
        """Resample the particles if their effective sample size is too small, and report the step.

        Args:
            step: Number of the step, from 0.
            sigma: Noise level that it begins at.
            last: Whether it is the run's last, after which all weights must be equal.

        Returns:
            Index of the particle that each continues, shape (B,); None where none is resampled.
        """
        ancestors, effective = None, effective_size(self._logs)
        if effective < (len(self._logs) if last else self._below) * (1 - _ROUNDING):
            ancestors = systematic_ancestors(self._logs, _uniform(self._generator))
            self._logs = torch.zeros_like(self._logs)
        if self._report is not None:
            self._report(Resampling(step, sigma, effective, ancestors))
        return ancestors


@torch.no_grad()
def sample_particles(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    resample_below: float = 0.5,
    limit: float = 1.0,
    area: Tensor | None = None,
    report: ResamplingReport | None = None,
) -> Tensor:
    """Sample ancestrally, as `sample_ddpm`, with the batch as particles of one run: likelier samples are continued.

    Where all factors agree, or there is only one, nothing is resampled and the samples are those of `sample_ddpm`.

    Args:
        denoiser: Predicts x0 and its factors; a `FactorsDenoiser`, as every product is.
        x: Start, x0 + sigmas[0]·n, shape (B, …), of one and the same condition.
        sigmas: Descending noise levels, the last one usually 0; one network evaluation for each but the last.
        generator: Source of the noise and of the resampling; drawn on the generator's device.
        callback: See `Callback`.
        resample_below: Resample when the effective sample size falls below this share of B, 0…1: 0 never, 1 after each
            step. After the last step unequal weights are always resampled.
        limit: Largest change of a log weight in one step, from the particles' mean; pictures have so many values that
            without a limit a single particle takes all.
        area: How much each value counts in the weights, 0…1, broadcasts to the sample.
        report: Called with every step's `Resampling`.

    Returns:
        Samples at the last noise level, shape of x; some are copies of others.

    Raises:
        ValueError: If the denoiser has no factors, there is one particle, a number is out of range, or a prediction
            is not finite.
    """
    weights = ParticleWeights(len(x), resample_below, limit, generator, report)
    if not isinstance(denoiser, FactorsDenoiser):
        raise ValueError(
            "Expected a product of experts, whose factors weigh the particles, and got a "
            f"{type(denoiser).__name__} without `with_factors`; use another sampler, ddpm for example."
        )
    levels = levels_of(sigmas)
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised, factors = denoiser.with_factors(x, sigma)
        if callback is not None:
            callback(step, sigma, denoised)
        weights.add(log_weight_change(factors, sigma, sigma_next, area), sigma)
        x = ddpm_mean(x, denoised, sigma, sigma_next)
        ancestors = weights.resample(step, sigma, last=step == len(levels) - 2)
        if ancestors is not None:
            x = x[ancestors.to(x.device)]
            denoiser.resample(ancestors)
        if sigma_next > 0:  # noise comes after the resampling, so that copies diverge
            x = x + math.sqrt(posterior_variance(sigma, sigma_next)) * noise_like(x, generator)
    return x


_ROUNDING = 1e-9  # rounding puts the effective size of equal weights slightly below B


def _uniform(generator: torch.Generator | None) -> float:
    device = generator.device if generator is not None else None
    return torch.rand((), dtype=torch.float64, device=device, generator=generator).item()
