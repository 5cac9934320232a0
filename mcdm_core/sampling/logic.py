"""Logic of experts: ancestral samples of what their densities say together, which are tracked on the way.

Every noised density obeys the heat equation in σ², so along a path of the reverse process no divergence is needed to
know how log p_i changes (the Itô density estimator of Skreta et al.). In steps, by Bayes' rule,

    log p_i(x') − log p_i(x) = log p_i(x' | x) − log q(x | x'),

whose last term is the same for all experts. Of p_i(x' | x) the mean is known, m_i = D_i + (σ'/σ)² (x − D_i). With a
variance V that is common to them differences between experts change by

    Δ(log p_i − log p_j) = (‖x' − m_j‖² − ‖x' − m_i‖²)/2V.

V = σ² − σ'² is Itô's estimator itself, and exact for very wide data; σ'²(1 − σ'²/σ²) is exact for data that are points.
`forward_variance` is between them, exact for standard normal data, and of the three never the worst and mostly the
nearest where Gaussians tell (docs/logic.md).

References:
    Skreta et al., "The Superposition of Diffusion Models Using the Itô Density Estimator", ICLR 2025 (arXiv
    2412.17762); "Feynman-Kac Correctors in Diffusion", ICML 2025. What is combined, and how: `Logic`.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..product.coefficients import Coefficient
from ..product.logic import HARMONIC, Combination, Logic
from ..product.weighted import add_weighted
from .ddpm import ddpm_mean, forward_variance, posterior_variance
from .noise import noise_like
from .particles import ParticleWeights, Report, log_weight_change
from .types import Callback, Denoiser, TermsDenoiser


@torch.no_grad()
def sample_logic(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    logic: Logic = HARMONIC,
    corrected: bool = False,
    resample_below: float = 0.5,
    limit: float = 1.0,
    area: Tensor | None = None,
    report: Report | None = None,
) -> Tensor:
    """Sample ancestrally, as `sample_ddpm`, from what experts say together by a logic instead of their product.

    One expert alone gives the samples of `sample_ddpm`, to the bit. An expert outside its window finds every step as
    likely as the combination does.

    Args:
        denoiser: Predicts what each expert alone predicts; a `TermsDenoiser`, as every product is.
        x: Start, x0 + sigmas[0]·n, shape (B, …). There all experts are equally likely.
        sigmas: Descending noise levels, the last one usually 0; one network evaluation for each but the last.
        generator: Source of the noise and of the resampling; drawn on the generator's device.
        callback: See `Callback`.
        logic: How densities are combined.
        corrected: Whether the samples are weighted and resampled as particles of one run, see `sample_particles`, for
            what ancestral steps miss. Nothing is missing at OR with λ = 1, with or without NOT below its largest value.
        resample_below: See `sample_particles`.
        limit: Likewise.
        area: How much each value counts in densities and weights, 0…1, broadcasts to the sample.
        report: Is told of every step of particles.

    Returns:
        Samples at the last noise level, shape of x.

    Raises:
        ValueError: If the denoiser does not show its experts, a number is out of range, no expert of positive weight
            acts, corrected samples are fewer than two, or a prediction is not finite.
    """
    if not isinstance(denoiser, TermsDenoiser):
        raise ValueError(
            "Expected a product of experts, whose densities are tracked one by one, and got a "
            f"{type(denoiser).__name__} without `with_terms`; use another sampler, ddpm for example."
        )
    particles = ParticleWeights(len(x), resample_below, limit, generator, report) if corrected else None
    densities = TrackedDensities(logic, x, area)
    levels = [float(sigma) for sigma in sigmas]
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised, terms = denoiser.with_terms(x, sigma, densities.weigh)
        if callback is not None:
            callback(step, sigma, denoised)
        x = ddpm_mean(x, denoised, sigma, sigma_next)
        shifts = {i: (1 - (sigma_next / sigma) ** 2) * (x0 - denoised) for i, x0 in terms.items()}  # m_i − m_r
        if particles is not None:
            particles.add(densities.weight_change(terms, sigma, sigma_next), sigma)
            ancestors = particles.resample(step, sigma, last=step == len(levels) - 2)
            if ancestors is not None:
                kept = ancestors.to(x.device)
                x, shifts = x[kept], {i: shift[kept] for i, shift in shifts.items()}
                densities.resample(ancestors)
                denoiser.resample(ancestors)
        if sigma_next > 0:
            added = math.sqrt(posterior_variance(sigma, sigma_next)) * noise_like(x, generator)
            x = x + added
            densities.follow(added, shifts, sigma, sigma_next)
    return x


class TrackedDensities:
    """Log densities of experts along the paths of a batch, relative to that of what is sampled; 0 at the start.

    Args:
        logic: How they are combined.
        like: A sample of the batch, shape (B, …).
        area: See `sample_logic`.

    Attributes:
        logs: log p_i − log r up to a constant by the index of the expert, shape (B,), in float64 on the CPU.
    """

    def __init__(self, logic: Logic, like: Tensor, area: Tensor | None = None):
        self.logs: dict[int, Tensor] = {}
        self._logic, self._area = logic, area
        self._kind, self._ndim = like.new_empty(0), like.ndim
        self._count = len(like)
        self._combination: Combination | None = None

    def weigh(self, weights: Mapping[int, float]) -> Mapping[int, Coefficient]:
        """What each expert counts at this point of the paths.

        Args:
            weights: The signed weights of those that act.

        Returns:
            ω by index, shape (B, 1, …); 1 for a single one.
        """
        for i in weights.keys() - self.logs.keys():
            self.logs[i] = torch.zeros(self._count, dtype=torch.float64)
        self._combination = self._logic.combine(self.logs, weights)
        if len(weights) == 1:
            return dict.fromkeys(weights, 1.0)
        return self._shaped(self._combination.weights)

    def weight_change(self, terms: Mapping[int, Tensor], sigma: float, sigma_next: float) -> Tensor:
        """Δ log w of a step from σ to σ', with what each expert counts as `weigh` said last.

        Where r = exp G(log p), it is ½ (Σ_ij G_ij ⟨s_i, s_j⟩ + ‖s_r‖² − Σ_i ω_i ‖s_i‖²)(σ² − σ'²). For the power mean q
        that is −½ (1 − e)(Σ_i ω_i ‖s_i‖² − ‖s_q‖²)(σ² − σ'²). A difference of densities adds nothing to q's share of
        it, (1 + m) times as much, but where it is continued it counts as a product does.

        Args:
            terms: D_i by index.
            sigma: σ.
            sigma_next: σ'.

        Returns:
            Shape (B,), in float64 on the CPU.
        """
        assert self._combination is not None
        found, step = self._combination, (sigma, sigma_next, self._area)
        uniting = self._shaped(found.uniting)
        inner = log_weight_change([(w, terms[i]) for i, w in uniting.items()], *step)
        change = (1 - self._logic.exponent) * (1 + found.counts) * inner
        if not found.reached.any():
            return change
        zero, excluding = torch.zeros_like(next(iter(terms.values()))), self._shaped(found.excluding)
        q, excluded = (add_weighted(zero, [terms[i] for i in of], [*of.values()]) for of in (uniting, excluding))
        counts = self._shaped({0: found.counts})[0]
        return change + found.reached * log_weight_change([(1 + counts, q), (-counts, excluded)], *step)

    def follow(self, added: Tensor, shifts: Mapping[int, Tensor], sigma: float, sigma_next: float) -> None:
        """Take the step that the batch made.

        Args:
            added: x' − m_r, where m_r is the mean of the step of what is sampled, shape (B, …).
            shifts: m_i − m_r by the index of the expert, of the same shape.
            sigma: σ.
            sigma_next: σ'.

        Raises:
            ValueError: If a prediction is not finite.
        """
        variance = forward_variance(sigma, sigma_next)
        if variance == 0:  # a level that is visited twice
            return
        for i, shift in shifts.items():
            gained = shift * (added - shift / 2)
            gained = gained if self._area is None else self._area * gained
            change = gained.flatten(1).sum(1).cpu().double() / variance
            if not change.isfinite().all():
                raise ValueError(
                    f"Expected finite predictions to track densities by and got NaN or infinity at σ = {sigma:.4g}; "
                    "lower the weights, or use a network of more precision."
                )
            self.logs[i] = self.logs[i] + change

    def resample(self, ancestors: Tensor) -> None:
        """Let samples of the batch go on as others.

        Args:
            ancestors: Which sample each is from now on, shape (B,).
        """
        self.logs = {i: log[ancestors] for i, log in self.logs.items()}

    def _shaped(self, of: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Numbers (B,) as they broadcast to the batch."""
        ones = [1] * (self._ndim - 1)
        return {i: number.to(self._kind).reshape(-1, *ones) for i, number in of.items()}
