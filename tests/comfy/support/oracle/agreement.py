"""Agreement weights by brute force: every expert is asked alone, and the weights are shared out in plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ....support.agreement import shared_out
from .guider import BruteForceGuider, Point, is_within
from .variants import Expert


class AgreementGuider(BruteForceGuider):
    """Eq. 10, or the own-null rule, in float64 with weights that are shared out place by place.

    Args:
        experts: Experts, with any masks and windows.
        tau: τ.
        patch: Side of the patch.
        window: The interval of the sampling, from 0 to 1, in which weights are shared out.
        own_nulls: Whether each condition is measured against its own null.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        tau: float,
        patch: int,
        window: tuple[float, float] = (0.0, 1.0),
        own_nulls: bool = False,
    ):
        super().__init__(experts)
        self.tau, self.patch, self.window, self.own_nulls = tau, patch, window, own_nulls

    def _weights(
        self, weights: Sequence[Tensor], conds: Sequence[Tensor], unconditional: Tensor, sigma: float, point: Point
    ) -> Sequence[Tensor]:
        sampling = self.experts[0].model.get_model_object("model_sampling")
        if not is_within(sampling, self.window, sigma):
            return weights
        unit, angle = point
        *noises, u = ((unit - math.cos(angle) * x0) / math.sin(angle) for x0 in (*conds, unconditional))
        return shared_out(weights, noises, u, self.tau, self.patch)

    def _bases(self, nulls: Sequence[Tensor], unconditional: Tensor) -> Sequence[Tensor]:
        return nulls if self.own_nulls else super()._bases(nulls, unconditional)
