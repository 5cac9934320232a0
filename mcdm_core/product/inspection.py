"""How far each expert pulls, and whether the experts pull the same way: the summands of Eq. 10, measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .rules.coefficients import Coefficient


@dataclass(frozen=True)
class Guidance:
    """Size and agreement of the experts' guidance g_i = w_i (D_i − U); NaN for experts without.

    Attributes:
        norms: ‖g_i‖/√n over the n values of a sample, that is the root mean square change of x0, in the units of x0;
            shape (B, N) for N experts.
        cosines: ⟨g_i, g_j⟩ / (‖g_i‖ ‖g_j‖), −1…1, shape (B, N, N).
    """

    norms: Tensor
    cosines: Tensor


def measure_guidance(
    cond: Sequence[Tensor | None],
    uncond: Tensor | None,
    weights: Sequence[Coefficient],
    area: Tensor | None = None,
) -> Guidance:
    """Measure the summands w_i (D_i − U) of Eq. 10.

    Args:
        cond: Each expert's x0 under its condition, D_i, shape (B, …); None where it was not asked.
        uncond: The unconditional estimate U, shape (B, …); None where the weights sum to 1 and there is none, so that
            everything is NaN. At least one prediction is given.
        weights: w_i, numbers or maps that broadcast to the sample.
        area: How much each value counts, 0…1, broadcasts to the sample; None counts all alike.

    Returns:
        The measurements, in float64 on the CPU, as not every accelerator has float64.
    """
    like = next(prediction for prediction in (*cond, uncond) if prediction is not None)
    absent = torch.full((len(like), like[0].numel()), torch.nan, dtype=torch.float64)
    flat = [
        absent if prediction is None or uncond is None else (weight * (prediction - uncond)).cpu().double().flatten(1)
        for prediction, weight in zip(cond, weights, strict=True)
    ]
    guidance = torch.stack(flat, dim=1)
    # Without U nothing is measured, and predictions of other spaces may have other shapes than the area.
    share = torch.ones_like(like) if area is None or uncond is None else area.expand_as(like)
    counted = share.cpu().double().flatten(1)[:, None]
    inner_products = (counted * guidance) @ guidance.mT / counted.sum(-1, keepdim=True)
    norms = inner_products.diagonal(dim1=1, dim2=2).sqrt()
    cosines = inner_products / (norms[:, :, None] * norms[:, None, :])
    return Guidance(norms, cosines.clamp(-1.0, 1.0))
