"""Choosing among finished samples: those that every expert finds likelier with its condition than without.

By the lift of CompLift, see `mcdm_core.product.lifts`.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..diffusion.schedule import NoiseSchedule, sigma_at_progress
from ..product.lifts import Lifts, least_lifts
from ..product.term import Term


def check_choice(count: int, batch: int) -> None:
    """Refuse a number of samples that cannot be kept, or too few samples to choose from.

    Args:
        count: How many samples to keep.
        batch: How many there are.

    Raises:
        ValueError: If there are fewer than two samples, or `count` is not within 1…batch.
    """
    if batch < 2:
        raise ValueError(f"Expected at least 2 samples to choose from and got {batch}; raise the size of the batch.")
    if not 1 <= count <= batch:
        raise ValueError(
            f"Expected to keep from 1 to all {batch} samples and got {count}; lower it, or sample a larger batch."
        )


def level_progress(levels: int) -> list[float]:
    """Progress through sampling, 0…1 from the noisy end, at the middles of `levels` equal parts."""
    return [(i + 0.5) / levels for i in range(levels)]


def measure_lifts(
    terms: Sequence[Term],
    samples: Tensor,
    levels: int = 8,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How far each expert lifts each sample, over several noise levels.

    Every sample and expert sees the same noise, so only the samples make scores differ. An expert counts in its window
    and mask; the lift of a negative weight changes its sign; experts of weight 0 are left out.

    Args:
        terms: The experts; those with a weight other than 0 need a null.
        samples: x0, shape (B, C, H, W).
        levels: How many noise levels, evenly over the reference's schedule; each costs 2 rows per expert and sample.
        generator: Source of the noise.

    Returns:
        Lifts, shape (B, N) for the N experts whose weight is not 0.

    Raises:
        ValueError: If an expert has no null, or acts at none of the levels, or all weights are 0.
    """
    lifts = Lifts(terms, of_noise=True)
    schedule = terms[0].expert.schedule
    device = generator.device if generator is not None else samples.device
    acting = [
        (index, term, term.window(partial(sigma_at_progress, schedule)), term.mask_like(samples))
        for index, term in enumerate(terms)
        if term.weight != 0
    ]
    for sigma in sigmas_of(schedule, levels):
        noise = torch.randn(samples.shape[1:], dtype=samples.dtype, device=device, generator=generator)
        x = samples + sigma * noise.to(samples.device)
        for index, term, (start, end), mask in acting:
            if start >= sigma > end:
                lifts.add(index, *_predict_both(term, x, sigma), sigma, mask)
    return lifts.of(samples)


def sigmas_of(schedule: NoiseSchedule, levels: int) -> list[float]:
    """Noise levels at `level_progress` of a schedule, descending."""
    return [sigma_at_progress(schedule, progress) for progress in level_progress(levels)]


def choose(lifts: Tensor, count: int) -> Tensor:
    """The samples whose smallest lift is largest.

    Args:
        lifts: Shape (B, N); a sample that no expert covers has infinite lifts only, and comes last.
        count: How many to keep.

    Returns:
        Their indices, the best first, shape (count,); equal samples keep their order.

    Raises:
        ValueError: As `check_choice`.
    """
    check_choice(count, len(lifts))
    return least_lifts(lifts).argsort(descending=True, stable=True)[:count]


def _predict_both(term: Term, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """x0 predicted under the condition and under the null."""
    if term.condition is None or term.null is None:
        raise ValueError(f"{term.subject} needs a negative, because its lift is measured against that. Give its null.")
    return term.expert.predict_x0(x, sigma, term.condition), term.expert.predict_x0(x, sigma, term.null)
