"""A rule by which predictions are combined."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..terms.term_numbers import TermNumbers
from .coefficients import Coefficient, Coefficients

PredictionList = Sequence[Tensor | None]
"""One per expert, all of one shape (B, …); None where it was not asked for."""

MakePair = Callable[[PredictionList, PredictionList, Coefficients, Sequence[int]], tuple[Tensor, Tensor]]
"""Predictions under the conditions and under the nulls, the coefficients, and for each expert the index of the first
that has the same null, to C and U."""


@dataclass(frozen=True)
class Rule:
    """How the experts' predictions are combined, and which of them that takes. There are two: `EQ10` and `OWN_NULL`.

    Attributes:
        pair: The pair (C, U) such that the combined prediction is U + s (C − U) for the coefficients' scale s; at s = 1
            it is C. Nothing is checked: a run's plan has done that.
        needs_null: Whether a null enters the result, given the sums of w and of a of the experts that share it, and W.
        always_combines_nulls: Whether reliabilities matter even where the weights sum to 1.
        why: Parts of the refusal of a product that lacks an expert's null, given its numbers and W: why the null is
            needed, and what to do other than give it; where reliabilities don't always matter also other than set it
            to 0, which helps where another expert supplies U.
    """

    pair: MakePair
    needs_null: Callable[[Coefficient, Coefficient, Coefficient], bool]
    always_combines_nulls: bool
    why: Callable[[TermNumbers, Coefficient], tuple[str, str]]


def add_weighted(base: Tensor, predictions: Sequence[Tensor | None], coefficients: Sequence[Coefficient]) -> Tensor:
    """`base` + Σ coefficient · prediction over the predictions there are, but for those whose coefficient is a 0.

    Maps are not looked at: that would wait for the device at every step.
    """
    for prediction, coefficient in zip(predictions, coefficients, strict=True):
        if prediction is not None and (isinstance(coefficient, Tensor) or coefficient != 0):
            base = base + coefficient * prediction
    return base
