"""What predictions and coefficients must be before they are combined."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .coefficients import TOLERANCE, Coefficient, Coefficients, anywhere, is_one, total_of


def checked_coefficients(
    cond: Sequence[Tensor | None],
    null: Sequence[Tensor | None],
    weights: Sequence[Coefficient],
    reliabilities: Sequence[Coefficient],
) -> Coefficients:
    """The coefficients of predictions, after the checks that every rule makes.

    Raises:
        ValueError: If lengths or shapes don't fit, a coefficient is not finite, or a condition that counts is missing.
    """
    if not len(cond) == len(null) == len(weights) == len(reliabilities) > 0:
        raise ValueError(
            "Expected one condition, null, weight and reliability per expert and got "
            f"{len(cond)}, {len(null)}, {len(weights)} and {len(reliabilities)}; pass None for predictions left out."
        )
    like = first_of_one_shape([*cond, *null])
    coefficients = Coefficients(
        [checked_coefficient(w, like, f"weight {i}") for i, w in enumerate(weights)],
        [checked_coefficient(a, like, f"reliability {j}") for j, a in enumerate(reliabilities)],
    )
    check_present(cond, [anywhere(w != 0) for w in coefficients.weights], "condition", "its weight to 0")
    return coefficients


def first_of_one_shape(predictions: Sequence[Tensor | None]) -> Tensor:
    """The first prediction there is, whose shape all others must have.

    Raises:
        ValueError: If shapes differ, or there is none.
    """
    given = [prediction for prediction in predictions if prediction is not None]
    shapes = {tuple(prediction.shape) for prediction in given}
    if len(shapes) != 1:
        raise ValueError(
            f"Expected predictions of one shape and got {sorted(shapes) or 'none at all'}; use experts of one size."
        )
    return given[0]


def checked_coefficient(value: Coefficient, like: Tensor, what: str) -> Coefficient:
    """A coefficient as a number, or as a map on the sample's device, of its dtype but at least in single precision.

    Raises:
        ValueError: If it is not finite, or does not broadcast to the sample; names it by `what`.
    """
    if not isinstance(value, Tensor) or (value.ndim == 0 and not value.requires_grad):
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(f"Expected {what} to be finite and got {value}; set a number, such as 1.")
        return value
    try:
        fits = torch.broadcast_shapes(value.shape, like.shape) == like.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"Expected {what} to broadcast to the sample's shape {tuple(like.shape)} and got {tuple(value.shape)}; "
            "resize the map or add its missing dimensions."
        )
    if not value.isfinite().all():
        raise ValueError(f"Expected {what} to be finite everywhere and got NaN or infinity; repair the map.")
    return value.to(like.device, torch.promote_types(like.dtype, torch.float32))  # in halves no sum is 1 to 1e-6


def check_present(predictions: Sequence[Tensor | None], needed: Sequence[bool], what: str, instead: str) -> None:
    """Refuse a missing prediction that counts; `instead` ends the advice "evaluate it or set …"."""
    for i, (prediction, need) in enumerate(zip(predictions, needed, strict=True)):
        if need and prediction is None:
            raise ValueError(
                f"Expected a prediction under {what} {i}, which counts, and got None; evaluate it or set {instead}."
            )


def check_sum(reliabilities: Sequence[Coefficient], total: Coefficient) -> None:
    """Refuse reliabilities that don't sum to 1 wherever W, the total weight, is not 1."""
    summed = torch.as_tensor(total_of(reliabilities))
    wrong = (summed - 1).abs() > TOLERANCE
    if isinstance(total, Tensor):
        summed, wrong = torch.broadcast_tensors(summed, wrong.to(total.device) & ~is_one(total))
    if wrong.any():
        raise ValueError(
            f"Expected reliabilities that sum to 1 and got a sum of {summed[wrong].flatten()[0].item():.6g}; "
            "divide them by their sum."
        )
