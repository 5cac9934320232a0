"""What is asked of an expert, and who is shown what came back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ....mcdm_core.product.evaluation import Evaluation
from ....mcdm_core.product.method import Method

CONDITION, NULL = "positive", "negative"
ROLES = {CONDITION: 0, NULL: 1}  # what patches see as cond_or_uncond


@dataclass(frozen=True)
class Request:
    """One prediction to be made: an expert's, under its condition or its null."""

    expert: int
    role: str


Observer = Callable[[Evaluation], None]
"""Is shown every evaluation of the product; it must not change the tensors."""
ModelPoint = tuple[Tensor, Tensor]
"""x in a MODEL's own form, shape (B, C, …), and σ of equal entries, shape (B,)."""


class Watcher(Method):
    """Someone who is shown every evaluation."""

    def __init__(self, observer: Observer):
        self._observer = observer

    def note(self, evaluation: Evaluation) -> None:
        """See `Method`."""
        self._observer(evaluation)
