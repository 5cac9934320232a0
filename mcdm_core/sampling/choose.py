"""Choosing among finished samples: those that every expert finds likelier with its condition than without.

"CompLift: Improving Compositional Generation with Diffusion Models Using Lift Scores", ICML 2025. The lift of a sample
under a condition is log p(x0 | c) − log p(x0) as the expert's own errors tell it, for noise at many levels:

    E[‖ε − ε(x_t, ∅)‖² − ‖ε − ε(x_t, c)‖²],

per value of the sample here, so that sizes compare.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..diffusion.schedule import NoiseSchedule, sigma_at_share
from ..product.term import Term


def check_choice(count: int, batch: int) -> None:
    """Refuse a choice that is none.

    Args:
        count: How many samples to keep.
        batch: How many there are.

    Raises:
        ValueError: If there is one sample alone, or fewer than are to be kept, or none is to be kept.
    """
    if batch < 2:
        raise ValueError(f"Expected at least 2 samples to choose from and got {batch}; raise the size of the batch.")
    if not 1 <= count <= batch:
        raise ValueError(
            f"Expected to keep from 1 to all {batch} samples and got {count}; lower it, or sample a larger batch."
        )


def level_shares(levels: int) -> list[float]:
    """Shares of the sampling, 0…1, of so many noise levels, evenly from the noisy end: the middles of equal parts."""
    return [(i + 0.5) / levels for i in range(levels)]


def lift(
    samples: Tensor, conditional: Tensor, unconditional: Tensor, sigma: float, area: Tensor | None = None
) -> Tensor:
    """The lift at one level, from predictions about samples + σ·n.

    Args:
        samples: x0, shape (B, …).
        conditional: x0 predicted under the condition, of the same shape.
        unconditional: x0 predicted under the null.
        sigma: σ.
        area: How much each value counts, 0…1, broadcasts to the sample; None counts all alike.

    Returns:
        Mean over the values of (‖x0 − D_∅‖² − ‖x0 − D_c‖²)/σ², shape (B,), in float64 on the CPU.
    """
    gain = ((samples - unconditional) ** 2 - (samples - conditional) ** 2) / sigma**2
    counted = torch.ones_like(gain) if area is None else area.expand_as(gain)
    sums = [(of.flatten(1).sum(1).cpu().double()) for of in (counted * gain, counted)]
    return sums[0] / sums[1]


def measure_lifts(
    terms: Sequence[Term],
    samples: Tensor,
    levels: int = 8,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How far each expert lifts each sample, over several noise levels.

    Every sample and expert sees the same noise, so that scores differ by the samples. An expert counts in its window
    and mask; one of negative weight is to lower, so that its lift changes its sign; one without weight says nothing.

    Args:
        terms: The experts; those of a weight need a null.
        samples: x0, shape (B, C, H, W).
        levels: How many noise levels, evenly over the reference's schedule; each costs 2 rows per expert and sample.
        generator: Source of the noise.

    Returns:
        Lifts, shape (B, N) for the N experts of a weight.

    Raises:
        ValueError: If an expert has no null, or acts at none of the levels, or none has a weight.
    """
    guiding = [term for term in terms if term.weight != 0]
    schedule = terms[0].expert.schedule
    sigmas = sigmas_of(schedule, levels)
    device = generator.device if generator is not None else samples.device
    noise = [
        torch.randn(samples.shape[1:], dtype=samples.dtype, device=device, generator=generator).to(samples.device)
        for _ in sigmas
    ]
    found = []
    for term in guiding:
        start, end = term.window(partial(sigma_at_share, schedule))
        acting = [(sigma, z) for sigma, z in zip(sigmas, noise, strict=True) if start >= sigma > end]
        found.append([_lift_of(term, samples, sigma, z) for sigma, z in acting])
    return mean_lifts(found, [term.label for term in guiding])


def sigmas_of(schedule: NoiseSchedule, levels: int) -> list[float]:
    """Noise levels at `level_shares` of a schedule, descending."""
    return [sigma_at_share(schedule, share) for share in level_shares(levels)]


def mean_lifts(lifts: Sequence[Sequence[Tensor]], labels: Sequence[str]) -> Tensor:
    """Each expert's lift, averaged over the levels at which it acts.

    Args:
        lifts: For each expert those at its levels, each of shape (B,).
        labels: What messages call the experts.

    Returns:
        Shape (B, N).

    Raises:
        ValueError: If there is no expert, or one has no level, or a lift is not finite.
    """
    if not labels:
        raise ValueError("Expected an expert whose weight is not 0 to choose by and got none; raise a weight.")
    for label, own in zip(labels, lifts, strict=True):
        if not own:
            raise ValueError(f"Expected a noise level at which {label} acts and got none; raise levels.")
        if not all(at_level.isfinite().all() for at_level in own):
            raise ValueError(
                f"Expected finite predictions of {label} to choose by and got NaN or infinity; check the samples, and "
                "use a network of more precision."
            )
    return torch.stack([torch.stack(list(own)).mean(0) for own in lifts], dim=1)


def choose(lifts: Tensor, count: int) -> Tensor:
    """The samples whose smallest lift is largest.

    Args:
        lifts: Shape (B, N).
        count: How many to keep.

    Returns:
        Their indices, the best first, shape (count,); of equal ones those that came first.

    Raises:
        ValueError: As `check_choice`.
    """
    check_choice(count, len(lifts))
    return lifts.amin(1).argsort(descending=True, stable=True)[:count]


def _lift_of(term: Term, samples: Tensor, sigma: float, noise: Tensor) -> Tensor:
    if term.condition is None or term.null is None:
        raise ValueError(f"Expected a null of {term.label} to measure its lift against and got none; give its null.")
    x = samples + sigma * noise
    conditional, unconditional = (term.expert.predict_x0(x, sigma, of) for of in (term.condition, term.null))
    own = lift(samples, conditional, unconditional, sigma, term.mask_like(samples))
    return own if term.weight > 0 else -own
