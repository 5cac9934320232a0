"""Requests to experts, and observers of evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ....mcdm_core.product.evaluation import Evaluation
from ....mcdm_core.product.methods.method import Method

CONDITION, NULL = "positive", "negative"
ROLES = {CONDITION: 0, NULL: 1}  # in cond_or_uncond, which patches read


@dataclass(frozen=True)
class Request:
    """One prediction to make: an expert's, under its condition or its null."""

    expert: int
    role: str


Observer = Callable[[Evaluation], None]
"""Is shown every evaluation of the product; it must not change the tensors."""
ModelPoint = tuple[Tensor, Tensor]
"""x in a MODEL's own form, shape (B, C, …), and σ of equal entries, shape (B,)."""


class Watcher(Method):
    """Shows an observer every evaluation."""

    def __init__(self, observer: Observer):
        self._observer = observer

    def note(self, evaluation: Evaluation) -> None:
        """See `Method`."""
        self._observer(evaluation)
