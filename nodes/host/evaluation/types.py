"""What a product is made of: what is asked, of whom, and what came back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ....mcdm_core.product.alone import Alone
from ....mcdm_core.product.plan import Factor, Plan

CONDITION, NULL = "positive", "negative"
ROLES = {CONDITION: 0, NULL: 1}  # what patches see as cond_or_uncond


@dataclass(frozen=True)
class Request:
    """One prediction to be made: an expert's, under its condition or its null."""

    expert: int
    role: str


@dataclass(frozen=True)
class Evaluation:
    """What a product is made of at one noise level.

    Attributes:
        sigma: Noise level of the reference.
        plan: Who was asked, and the coefficients.
        cond: Each expert's x0 under its condition, shape (B, C, …); None where it was not needed.
        null: x0 under the distinct nulls, shape (B, C, …), by the experts whose they are.
        rows: How many rows networks were asked; not counted where nothing may be left out.
        plain_rows: How many the plain product would have taken.
    """

    sigma: float
    plan: Plan
    cond: list[Tensor | None]
    null: Mapping[int, Tensor]
    rows: int = 0
    plain_rows: int = 0

    def unconditional(self) -> Tensor | None:
        """U, shape (B, C, …); None where it was not needed."""
        return self.plan.unconditional(self._asked, self.null)

    def factors(self) -> list[Factor]:
        """What the product is the sum of, before the CFG hooks."""
        return self.plan.factors(self._asked, self.null)

    def terms(self) -> Mapping[int, Tensor]:
        """What each expert predicts alone, by its index; of a run in which they are asked alone."""
        assert isinstance(self.plan, Alone)
        return self.plan.terms(self._asked, self.null)

    @property
    def _asked(self) -> dict[int, Tensor]:
        return {i: x0 for i, x0 in enumerate(self.cond) if x0 is not None}


Observer = Callable[[Evaluation], None]
Point = tuple[Tensor, Tensor]
"""x in a MODEL's own form, shape (B, C, …), and σ of equal entries, shape (B,)."""
