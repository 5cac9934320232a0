"""The coefficients of a product: weights w and reliabilities a, numbers or maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Coefficient = float | Tensor
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Coefficients of Eq. 10, one entry per expert, and facts about them that every step of a run needs.

    The facts are found once, because looking into a map waits for its device.

    Attributes:
        weights: w_i, numbers of any sign or maps that broadcast to the sample.
        reliabilities: a_j, likewise; they sum to 1 wherever the unconditional estimate counts.
        scale: s, by which the pair (C, U) makes up the product as U + s (C − U); not 0.
        on_host: The same coefficients on the host, whose maps are looked into instead; None for these themselves.
    """

    weights: Sequence[Coefficient]
    reliabilities: Sequence[Coefficient]
    scale: float = 1.0
    on_host: "Coefficients | None" = None

    @cached_property
    def total(self) -> Coefficient:
        """W = Σ w_i."""
        return total_of(self.weights)

    @cached_property
    def scaled_weights(self) -> list[Coefficient]:
        """w_i/s."""
        return [w / self.scale for w in self.weights]

    @cached_property
    def without_null(self) -> bool:
        """Whether C takes no null anywhere, because Σ w_i/s is 1."""
        return everywhere(is_one(total_of(self._known.scaled_weights)))

    @cached_property
    def has_reliability(self) -> list[bool]:
        """Whether a_j is not 0 everywhere."""
        return [anywhere(a != 0) for a in self._known.reliabilities]

    @cached_property
    def own_null_counts(self) -> list[bool]:
        """Whether a_j − w_j/s, the coefficient of an expert's null in the own-null rule, is not 0 everywhere."""
        return [differs(a, w) for w, a in zip(self._known.scaled_weights, self._known.reliabilities, strict=True)]

    @property
    def _known(self) -> "Coefficients":
        return self.on_host or self


def guidance_scale(total: Coefficient) -> float:
    """The scale s of a product as one step of guidance: W, or the largest |W| of a map; 1 instead of 0.

    Weights that cancel may sum to a rounding error instead of 0, so a sum below `TOLERANCE` counts as 0.
    """
    scale = float(total.abs().max()) if isinstance(total, Tensor) else float(total)
    return scale if abs(scale) > TOLERANCE else 1.0


def total_of(coefficients: Sequence[Coefficient]) -> Coefficient:
    """Sum of numbers and maps."""
    total: Coefficient = 0.0
    for coefficient in coefficients:
        total = total + coefficient
    return total


def is_one(total: Coefficient) -> bool | Tensor:
    """Where W = Σ w counts as 1, so that U cancels."""
    return (total - 1).abs() <= TOLERANCE if isinstance(total, Tensor) else math.isclose(total, 1)


def differs(first: Coefficient, second: Coefficient) -> bool:
    """Whether two coefficients differ somewhere."""
    return anywhere(torch.as_tensor(first - second).abs() > TOLERANCE)


def anywhere(flags: bool | Tensor) -> bool:
    """Whether a flag, or a map of flags, is set somewhere."""
    return bool(torch.as_tensor(flags).any())


def everywhere(flags: bool | Tensor) -> bool:
    """Whether a flag, or a map of flags, is set throughout."""
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
    if not 0 < total < math.inf or min(reliabilities) < 0:
        raise ValueError(
            f"Expected reliabilities of 0 or more with a positive sum and got {list(reliabilities)}; "
            "give at least one active expert a reliability above 0."
        )
    normalized = [a / total for a in reliabilities]
    if all(mask is None for mask in masks):
        return [*normalized]
    some = next(mask for mask in masks if mask is not None)
    full = torch.broadcast_tensors(*[torch.ones_like(some) if mask is None else mask for mask in masks])
    masked = [a * mask for a, mask in zip(normalized, full, strict=True)]
    covered = torch.stack(masked).sum(0)
    return [
        torch.where(covered > 0, m / covered, torch.full_like(m, a)) for m, a in zip(masked, normalized, strict=True)
    ]
