"""The paper's rule: one noise estimate from many experts (Nair, Bandara & Patel, "Unite and Conquer", CVPR 2023)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .coefficients import TOLERANCE, Coefficient, anywhere, everywhere, is_one, needs_null, total_of


def combined_epsilon(
    cond: Sequence[Tensor | None],
    null: Sequence[Tensor | None],
    weights: Sequence[Coefficient],
    reliabilities: Sequence[Coefficient],
) -> Tensor:
    r"""Combine the experts' predictions (paper, Eqs. 10 and 18).

    U = Σ_j a_j ε_j(x, ∅) and ε = U + Σ_i w_i (ε_i(x, c_i) − U) = Σ_i w_i ε_i(x, c_i) − (W − 1) U, W = Σ_i w_i.

    The coefficients sum to 1, so the rule holds for predictions of ε, x0, v or the score alike, as long as all were
    made at the same point and noise level. With one expert it is classifier-free guidance, and w is ComfyUI's cfg.

    Example:
        >>> cond, null = [torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)], [None, None]
        >>> combined_epsilon(cond, null, [0.5, 0.5], [0.5, 0.5]).mean().item()  # W = 1 needs no null
        0.5

    Args:
        cond: ε_i under the condition, all of one shape (B, …). May be None where w_i is 0.
        null: ε_j under the null condition, of the same shape. May be None where a_j is 0 or W is 1.
        weights: w_i, numbers of any sign or tensors that broadcast to the sample.
        reliabilities: a_j, likewise. They sum to 1 wherever W is not 1.

    Returns:
        The combined prediction, shape (B, …).

    Raises:
        ValueError: If lengths or shapes don't fit, a coefficient is not finite, a prediction is missing, or the
            reliabilities don't sum to 1 (within 1e-6).
    """
    check_lengths(cond, null, weights, reliabilities)
    like = common_sample([*cond, *null])
    weights = [checked_coefficient(w, like, f"weight {i}") for i, w in enumerate(weights)]
    reliabilities = [checked_coefficient(a, like, f"reliability {j}") for j, a in enumerate(reliabilities)]
    total = total_of(weights)

    check_present(cond, [anywhere(w != 0) for w in weights], "condition", "its weight to 0")
    if everywhere(is_one(total)):
        return add_weighted(torch.zeros_like(like), cond, weights)
    check_present(null, [needs_null(a, total) for a in reliabilities], "null", "its reliability to 0")
    check_sum(reliabilities, total)
    u = add_weighted(torch.zeros_like(like), null, reliabilities)
    return add_weighted(u, [None if prediction is None else prediction - u for prediction in cond], weights)


def guidance_form(
    cond: Sequence[Tensor | None],
    null: Sequence[Tensor | None],
    weights: Sequence[Coefficient],
    reliabilities: Sequence[Coefficient],
    scale: float,
) -> tuple[Tensor, Tensor]:
    r"""Eq. 10 as one step of classifier-free guidance: C and U such that it is U + s (C − U).

    C = U + Σ_i (w_i/s) (ε_i(x, c_i) − U). With s = W that is Σ_i (w_i/W) ε_i(x, c_i), and for one expert ε_1 itself,
    bit for bit.

    Args:
        cond: As for `combined_epsilon`, whose checks are not repeated here.
        null: Likewise. Where nulls were left out because W is 1 there, U is what the experts predict together, so that
            there is no guidance.
        weights: w_i.
        reliabilities: a_j.
        scale: s, not 0.

    Returns:
        C and U, shape (B, …); U is 0 where there is none at all.
    """
    like = common_sample([*cond, *null])
    zero = torch.zeros_like(like)
    shares = [w / scale for w in weights]
    missing = [prediction is None and anywhere(a != 0) for prediction, a in zip(null, reliabilities, strict=True)]
    if any(missing) and not all(prediction is None for prediction in null):
        together = add_weighted(zero, cond, weights)
        null = [together if left_out else prediction for prediction, left_out in zip(null, missing, strict=True)]
    u = add_weighted(zero, null, reliabilities)
    if everywhere(is_one(total_of(shares))):
        return add_weighted(zero, cond, shares), u
    return add_weighted(u, [None if prediction is None else prediction - u for prediction in cond], shares), u


def check_lengths(cond: Sequence, null: Sequence, weights: Sequence, reliabilities: Sequence) -> None:
    """Refuse sequences that are empty or not of one length."""
    if not len(cond) == len(null) == len(weights) == len(reliabilities) > 0:
        raise ValueError(
            "Expected one condition, null, weight and reliability per expert and got "
            f"{len(cond)}, {len(null)}, {len(weights)} and {len(reliabilities)}; pass None for predictions left out."
        )


def common_sample(predictions: Sequence[Tensor | None]) -> Tensor:
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
    """A coefficient as a number, or as a map of the sample's type and device.

    Raises:
        ValueError: If it is not finite, or does not broadcast to the sample; names it by `what`.
    """
    if not isinstance(value, Tensor) or value.ndim == 0:
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(f"Expected {what} to be finite and got {value}.")
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
    return value.to(like)


def check_present(predictions: Sequence[Tensor | None], needed: Sequence[bool], what: str, instead: str) -> None:
    """Refuse a missing prediction that counts; `instead` ends the advice "evaluate it or set …"."""
    for i, (prediction, need) in enumerate(zip(predictions, needed, strict=True)):
        if need and prediction is None:
            raise ValueError(
                f"Expected a prediction under {what} {i}, which counts, and got None; evaluate it or set {instead}."
            )


def check_sum(reliabilities: Sequence[Coefficient], total: Coefficient) -> None:
    """Refuse reliabilities that don't sum to 1 wherever W, the total weight, is not 1."""
    shares = torch.as_tensor(total_of(reliabilities))
    wrong = (shares - 1).abs() > TOLERANCE
    if isinstance(total, Tensor):
        shares, wrong = torch.broadcast_tensors(shares, wrong.to(total.device) & ~is_one(total))
    if wrong.any():
        raise ValueError(
            f"Expected reliabilities that sum to 1 and got a sum of {shares[wrong].flatten()[0].item():.6g}; "
            "divide them by their sum."
        )


def add_weighted(start: Tensor, predictions: Sequence[Tensor | None], coefficients: Sequence[Coefficient]) -> Tensor:
    """`start` + Σ coefficient · prediction over those that count."""
    for prediction, coefficient in zip(predictions, coefficients, strict=True):
        if prediction is not None and anywhere(coefficient != 0):
            start = start + coefficient * prediction
    return start
