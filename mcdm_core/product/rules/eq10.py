"""Eq. 10, the paper's rule: one prediction from many experts.

Nair, Bandara & Patel, "Unite and Conquer", CVPR 2023.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..terms.term_numbers import TermNumbers
from .checks import check_present, check_sum, checked_coefficients, first_of_one_shape
from .coefficients import Coefficient, Coefficients, anywhere, everywhere, is_one
from .rule import PredictionList, Rule, add_weighted


def combined_epsilon(
    cond: PredictionList,
    null: PredictionList,
    weights: Sequence[Coefficient],
    reliabilities: Sequence[Coefficient],
) -> Tensor:
    r"""Combine the experts' predictions (paper, Eqs. 10 and 18).

    U = Σ_j a_j ε_j(z, ∅) and ε = U + Σ_i w_i (ε_i(z, x_i) − U) = Σ_i w_i ε_i(z, x_i) − (W − 1) U, W = Σ_i w_i.

    The coefficients sum to 1, so the rule holds for predictions of ε, x0, v or ∇ log p alike, as long as all were
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
        The combined prediction, shape (B, …), of the predictions' dtype.

    Raises:
        ValueError: If lengths or shapes don't fit, a coefficient is not finite, a prediction is missing, or the
            reliabilities don't sum to 1 (within 1e-6).
    """
    coefficients = checked_coefficients(cond, null, weights, reliabilities)
    total = coefficients.total
    if not everywhere(is_one(total)):
        needed = [needs_null(0.0, a, total) for a in coefficients.reliabilities]
        check_present(null, needed, "null", "its reliability to 0")
        check_sum(coefficients.reliabilities, total)
    combined, _ = guidance_pair(cond, null, coefficients)
    return combined.to(first_of_one_shape([*cond, *null]).dtype)


def guidance_pair(
    cond: PredictionList, null: PredictionList, coefficients: Coefficients, null_owners: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    r"""Eq. 10 as one step of classifier-free guidance: C and U such that it is U + s (C − U). Nothing is checked.

    U = Σ_j a_j ε_j(z, ∅) and C = U + Σ_i (w_i/s) (ε_i(z, x_i) − U). At s = 1, C is Eq. 10 itself. With s = W it is
    Σ_i (w_i/W) ε_i(z, x_i), and for one expert ε_1 itself, bit for bit.

    Args:
        cond: ε_i under the condition; None where w_i is 0.
        null: ε_j under the null. Where nulls are left out because W is 1, U is the combined conditional prediction, so
            that there is no guidance.
        coefficients: w, a and s.
        null_owners: Without effect here; see `Rule.pair`.

    Returns:
        C and U, shape (B, …); U is 0 where there is none at all.
    """
    zero = torch.zeros_like(first_of_one_shape([*cond, *null]))
    missing = [each is None and counts for each, counts in zip(null, coefficients.has_reliability, strict=True)]
    if any(missing) and not all(prediction is None for prediction in null):
        together = add_weighted(zero, cond, coefficients.weights)
        null = [together if left_out else prediction for prediction, left_out in zip(null, missing, strict=True)]
    u = add_weighted(zero, null, coefficients.reliabilities)
    if coefficients.without_null:
        return add_weighted(zero, cond, coefficients.scaled_weights), u
    differences = [None if prediction is None else prediction - u for prediction in cond]
    return add_weighted(u, differences, coefficients.scaled_weights), u


def needs_null(weight: Coefficient, reliability: Coefficient, total: Coefficient) -> bool:
    """Whether a null prediction with this reliability enters Eq. 10 anywhere, given W = Σ w."""
    shared = ~is_one(total) if isinstance(total, Tensor) else not is_one(total)
    return anywhere(torch.as_tensor(reliability != 0) & shared)


def _why(term: TermNumbers, total: Coefficient) -> tuple[str, str]:
    weights = "don't sum to 1 everywhere" if isinstance(total, Tensor) else f"sum to {total:g}"
    return (
        f"because its reliability is {term.reliability:g} and the weights {weights}",
        "let the weights sum to 1",
    )


EQ10 = Rule(guidance_pair, needs_null, always_combines_nulls=False, why=_why)
