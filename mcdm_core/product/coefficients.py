"""The coefficients of Eq. 10: who counts where and how much, and which predictions that takes."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Coefficient = float | Tensor
TOLERANCE = 1e-6


class Factor(Protocol):
    """What of an expert its coefficients are made of."""

    @property
    def weight(self) -> float:
        """w_i."""

    @property
    def reliability(self) -> float:
        """a_i ≥ 0 before normalization."""


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of Eq. 10 while one set of experts is active; the lists have one entry per expert.

    Attributes:
        weights: w_i, scaled by the masks; 0 for inactive experts.
        reliabilities: a_j, normalized over the active experts; 0 for the others, and for all where no null is needed.
        total: W = Σ w_i.
        conditions: Indices of the experts whose prediction under their condition is needed.
        nulls: Indices of the experts whose prediction under their null is needed.
    """

    weights: list[Coefficient]
    reliabilities: list[Coefficient]
    total: Coefficient
    conditions: list[int]
    nulls: list[int]


def coefficients_of(
    factors: Sequence[Factor],
    active: Sequence[int],
    masks: Sequence[Tensor | None],
    names: Sequence[str],
    want_null: bool = False,
) -> Coefficients:
    """Coefficients of a product, and what has to be evaluated for it.

    Args:
        factors: All experts.
        active: Indices of those that act.
        masks: Each expert's mask, values 0…1, in a shape that broadcasts to the sample; None is everywhere.
        names: What messages call the experts.
        want_null: Whether U is asked for also where the weights sum to 1.

    Raises:
        ValueError: If U is needed and the reliabilities of the active experts are all 0.
    """
    weights: list[Coefficient] = [0.0] * len(factors)
    for i in active:
        mask = masks[i]
        weights[i] = factors[i].weight if mask is None else factors[i].weight * mask
    total = total_of(weights)
    reliabilities: list[Coefficient] = [0.0] * len(factors)
    if want_null or not everywhere(is_one(total)):
        given = [factors[i].reliability for i in active]
        if sum(given) <= 0:
            why_always = "because the unconditional estimate is asked for whatever the weights sum to"
            otherwise = why_always if want_null else "or let the weights sum to 1"
            raise ValueError(
                f"Expected reliabilities with a positive sum and got 0 for {', '.join(names[i] for i in active)}; "
                f"raise the reliability of one of them, {otherwise}."
            )
        shares = normalize_reliabilities(given, [masks[i] for i in active])
        for i, share in zip(active, shares, strict=True):
            reliabilities[i] = share
    conditions = [i for i, w in enumerate(weights) if anywhere(w != 0)]
    nulls = [j for j, a in enumerate(reliabilities) if (anywhere(a != 0) if want_null else needs_null(a, total))]
    return Coefficients(weights, reliabilities, total, conditions, nulls)


def warn_of_uncovered(factors: Sequence[Factor], active: Sequence[int], masks: Sequence[Tensor | None]) -> bool:
    """Say how much of the picture is covered by no expert that guides; those of weight 0 only lend their null.

    Args:
        factors: All experts.
        active: Indices of those that act.
        masks: Each expert's mask, of shapes that broadcast to one another; None covers everything.

    Returns:
        Whether there was something to say.
    """
    guiding = [masks[i] for i in active if factors[i].weight != 0]
    given = [mask for mask in guiding if mask is not None]
    if not given or len(given) < len(guiding):
        return False
    share = (torch.stack(torch.broadcast_tensors(*given)).sum(0) == 0).float().mean().item()
    if share > 0:
        logger.warning("No mask covers %.1f %% of the picture; the unconditional estimate is used there.", 100 * share)
    return share > 0


def total_of(coefficients: Sequence[Coefficient]) -> Coefficient:
    """Sum of numbers and maps."""
    total: Coefficient = 0.0
    for coefficient in coefficients:
        total = total + coefficient
    return total


def is_one(total: Coefficient) -> bool | Tensor:
    """Where W = Σ w counts as 1, so that U has no say."""
    return (total - 1).abs() <= TOLERANCE if isinstance(total, Tensor) else math.isclose(total, 1)


def needs_null(reliability: Coefficient, total: Coefficient) -> bool:
    """Whether a null prediction with this reliability enters the result anywhere, given W = Σ w."""
    shared = ~is_one(total) if isinstance(total, Tensor) else not is_one(total)
    return anywhere(torch.as_tensor(reliability != 0) & shared)


def anywhere(flags: bool | Tensor) -> bool:
    """Whether a flag, or a map of flags, is set at one place at least."""
    return bool(torch.as_tensor(flags).any())


def everywhere(flags: bool | Tensor) -> bool:
    """Whether a flag, or a map of flags, is set at all places."""
    return bool(torch.as_tensor(flags).all())


def normalize_reliabilities(reliabilities: Sequence[float], masks: Sequence[Tensor | None]) -> list[Coefficient]:
    """Share the unconditional estimate among the active experts.

    a_j(p) = a_j m_j(p) / Σ_k a_k m_k(p) where that sum is positive, else a_j / Σ_k a_k.

    Args:
        reliabilities: a_j ≥ 0, one per active expert.
        masks: m_j with values 0…1, all of shapes that broadcast to one another; None covers everything.

    Returns:
        Numbers if there is no mask, else tensors.

    Raises:
        ValueError: If a reliability is negative, or all are 0.
    """
    total = sum(reliabilities)
    if min(reliabilities) < 0 or not 0 < total < math.inf:
        raise ValueError(
            f"Expected reliabilities of 0 or more with a positive sum and got {list(reliabilities)}; "
            "give at least one active expert a reliability above 0."
        )
    shares = [a / total for a in reliabilities]
    if all(mask is None for mask in masks):
        return [*shares]
    some = next(mask for mask in masks if mask is not None)
    full = torch.broadcast_tensors(*[torch.ones_like(some) if mask is None else mask for mask in masks])
    masked = [a * mask for a, mask in zip(shares, full, strict=True)]
    covered = torch.stack(masked).sum(0)
    return [torch.where(covered > 0, m / covered, torch.full_like(m, a)) for m, a in zip(masked, shares, strict=True)]
