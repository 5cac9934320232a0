"""Sums of predictions."""

from collections.abc import Sequence

from torch import Tensor

from .coefficients import Coefficient


def add_weighted(start: Tensor, predictions: Sequence[Tensor | None], coefficients: Sequence[Coefficient]) -> Tensor:
    """`start` + Σ coefficient · prediction over the predictions there are, but for those whose coefficient is a 0.

    Maps are not looked at: that would wait for the device at every step.
    """
    for prediction, coefficient in zip(predictions, coefficients, strict=True):
        if prediction is not None and (isinstance(coefficient, Tensor) or coefficient != 0):
            start = start + coefficient * prediction
    return start
