"""Composable diffusion across experts: each condition is measured against its own expert's null."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .coefficients import TOLERANCE, Coefficient, anywhere
from .eq10 import add_weighted, check_lengths, check_present, check_sum, checked_coefficient, common_sample


def own_null_epsilon(
    cond: Sequence[Tensor | None],
    null: Sequence[Tensor | None],
    weights: Sequence[Coefficient],
    reliabilities: Sequence[Coefficient],
) -> Tensor:
    r"""Combine the experts' predictions, each guided away from its own null.

    ε = Σ_j a_j ε_j(x, ∅) + Σ_i w_i (ε_i(x, c_i) − ε_i(x, ∅)).

    The paper's rule (`combined_epsilon`, Eq. 10) differs in the subtrahend, which there is the common U = Σ_j a_j
    ε_j(x, ∅). Where all nulls are one prediction, the two agree, and where the weights are in proportion to the
    reliabilities. The coefficients sum to 1 here as well, so predictions of ε, x0, v or the score can be combined
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
        The combined prediction, shape (B, …).

    Raises:
        ValueError: If lengths or shapes don't fit, a coefficient is not finite, a prediction is missing, or the
            reliabilities don't sum to 1 (within 1e-6).

    References:
        Liu, Li, Du, Torralba & Tenenbaum, "Compositional Visual Generation with Composable Diffusion Models", ECCV
        2022, conjunction (AND) of conditions; there one network gives all predictions and there is one null.
    """
    check_lengths(cond, null, weights, reliabilities)
    like = common_sample([*cond, *null])
    weights = [checked_coefficient(w, like, f"weight {i}") for i, w in enumerate(weights)]
    reliabilities = [checked_coefficient(a, like, f"reliability {j}") for j, a in enumerate(reliabilities)]
    check_sum(reliabilities, total=0.0)  # they count whatever the weights sum to

    check_present(cond, [anywhere(w != 0) for w in weights], "condition", "its weight to 0")
    needed = [needs_own_null(w, a) for w, a in zip(weights, reliabilities, strict=True)]
    check_present(null, needed, "null", "its reliability and weight to 0")
    return _combine(cond, null, weights, reliabilities)


def own_null_guidance_form(
    cond: Sequence[Tensor | None],
    null: Sequence[Tensor | None],
    weights: Sequence[Coefficient],
    reliabilities: Sequence[Coefficient],
    scale: float,
) -> tuple[Tensor, Tensor]:
    """The rule as one step of classifier-free guidance, as `guidance_form` is for Eq. 10.

    Args:
        cond: As for `own_null_epsilon`.
        null: Likewise.
        weights: w_i.
        reliabilities: a_j.
        scale: s, not 0.

    Returns:
        C = U + Σ_i (w_i/s) (ε_i(x, c_i) − ε_i(x, ∅)) and U = Σ_j a_j ε_j(x, ∅), shape (B, …), such that the rule is
        U + s (C − U). Where a null is left out, the condition stands in for it, so that there is no guidance.
    """
    present = [c if n is None else n for c, n in zip(cond, null, strict=True)]
    u = add_weighted(torch.zeros_like(common_sample([*cond, *null])), present, reliabilities)
    return _combine(cond, present, [w / scale for w in weights], reliabilities), u


def _combine(
    cond: Sequence[Tensor | None],
    null: Sequence[Tensor | None],
    weights: Sequence[Coefficient],
    reliabilities: Sequence[Coefficient],
) -> Tensor:
    """The rule, with the condition in place of a null that cancels or is left out."""
    terms = list(zip(cond, null, weights, reliabilities, strict=True))
    null = [n if n is not None and (c is None or needs_own_null(w, a)) else c for c, n, w, a in terms]
    u = add_weighted(torch.zeros_like(common_sample([*cond, *null])), null, reliabilities)
    pairs = zip(cond, null, strict=True)
    return add_weighted(u, [None if c is None or n is None else c - n for c, n in pairs], weights)


def needs_own_null(weight: Coefficient, reliability: Coefficient) -> bool:
    """Whether a null enters the own-null rule anywhere: the coefficient of ε_j(x, ∅) is a_j − w_j."""
    return anywhere(torch.as_tensor(reliability - weight).abs() > TOLERANCE)
