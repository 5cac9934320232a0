"""Composable diffusion across experts: each condition is measured against its own expert's null."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..terms.term_numbers import TermNumbers
from .checks import check_present, check_sum, checked_coefficients, first_of_one_shape
from .coefficients import Coefficient, Coefficients, differs
from .rule import PredictionList, Rule, add_weighted


def own_null_epsilon(
    cond: PredictionList,
    null: PredictionList,
    weights: Sequence[Coefficient],
    reliabilities: Sequence[Coefficient],
) -> Tensor:
    r"""Combine the experts' predictions, each guided away from its own null.

    ε = Σ_j a_j ε_j(z, ∅) + Σ_i w_i (ε_i(z, x_i) − ε_i(z, ∅)).

    The paper's rule (`combined_epsilon`, Eq. 10) differs in the subtrahend, which there is the common U = Σ_j a_j
    ε_j(z, ∅). Where all nulls are one prediction, the two agree, and where the weights are in proportion to the
    reliabilities. The coefficients sum to 1 here as well, so predictions of ε, x0, v or ∇ log p can be combined
    alike. With one expert it is classifier-free guidance.

    Example:
        >>> cond, null = [torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)], [torch.zeros(1, 3, 8, 8)] * 2
        >>> own_null_epsilon(cond, null, [2.0, 2.0], [0.5, 0.5]).mean().item()
        2.0

    Args:
        cond: ε_i under the condition, all of one shape (B, …). May be None where w_i is 0.
        null: ε_j under the null condition, of the same shape. May be None where a_j is w_j, so that it cancels.
        weights: w_i, numbers of any sign or tensors that broadcast to the sample.
        reliabilities: a_j, likewise. They sum to 1.

    Returns:
        The combined prediction, shape (B, …), of the predictions' dtype.

    Raises:
        ValueError: If lengths or shapes don't fit, a coefficient is not finite, a prediction is missing, or the
            reliabilities don't sum to 1 (within 1e-6).

    References:
        Liu, Li, Du, Torralba & Tenenbaum, "Compositional Visual Generation with Composable Diffusion Models", ECCV
        2022, conjunction (AND) of conditions; there one network gives all predictions and there is one null.
    """
    coefficients = checked_coefficients(cond, null, weights, reliabilities)
    check_sum(coefficients.reliabilities, total=0.0)  # they count whatever the weights sum to

    needed = [needs_own_null(w, a) for w, a in zip(coefficients.weights, coefficients.reliabilities, strict=True)]
    check_present(null, needed, "null", "its reliability and weight to 0")
    combined, _ = own_null_pair(cond, null, coefficients)
    return combined.to(first_of_one_shape([*cond, *null]).dtype)


def own_null_pair(
    cond: PredictionList, null: PredictionList, coefficients: Coefficients, null_owners: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """The rule as one step of classifier-free guidance, as `guidance_pair` is for Eq. 10. Nothing is checked.

    Args:
        cond: As for `own_null_epsilon`.
        null: Likewise. In place of a null that is left out because it cancels stands a condition: the first one given
            among the experts that share the null, so that it cancels for them together, else the expert's own.
        coefficients: w, a and s.
        null_owners: For each expert the index of the first that has the same null; empty where none is shared.

    Returns:
        C = U + Σ_i (w_i/s) (ε_i(z, x_i) − ε_i(z, ∅)) and U = Σ_j a_j ε_j(z, ∅), shape (B, …), such that the rule is
        U + s (C − U).
    """
    present = [_first_present(j, cond, null, null_owners or range(len(cond))) for j in range(len(cond))]
    zero = torch.zeros_like(first_of_one_shape([*cond, *null]))
    u = add_weighted(zero, present, coefficients.reliabilities)
    # A null that cancels is replaced by the condition: so one expert's C at s = w is its condition, bit for bit.
    kept = [
        n if n is not None and (c is None or needed) else c
        for c, n, needed in zip(cond, present, coefficients.own_null_counts, strict=True)
    ]
    base = add_weighted(zero, kept, coefficients.reliabilities)
    differences = [None if c is None or n is None else c - n for c, n in zip(cond, kept, strict=True)]
    return add_weighted(base, differences, coefficients.scaled_weights), u


def _first_present(index: int, cond: PredictionList, null: PredictionList, null_owners: Sequence[int]) -> Tensor | None:
    """An expert's null, or the condition that stands in for it."""
    if null[index] is not None:
        return null[index]
    together = [i for i, owner in enumerate(null_owners) if owner == null_owners[index]]
    given = [*(null[i] for i in together), *(cond[i] for i in together)]
    return next((prediction for prediction in given if prediction is not None), None)


def needs_own_null(weight: Coefficient, reliability: Coefficient, total: Coefficient = 0.0) -> bool:
    """Whether a null enters the own-null rule anywhere: its coefficient is a − w, whatever W = Σ w."""
    return differs(reliability, weight)


def _why(term: TermNumbers, total: Coefficient) -> tuple[str, str]:
    return (
        f"because its weight is {term.weight:g} and its reliability {term.reliability:g}",
        "or set both to 0",
    )


OWN_NULL = Rule(own_null_pair, needs_own_null, always_combines_nulls=True, why=_why)
