"""Agreement weights by brute force: every expert is asked alone, and the weights are shared out in plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ....support.agreement import shared_out
from .guider import BruteForceGuider, own_point
from .variants import Expert


class AgreementGuider(BruteForceGuider):
    """Eq. 10, or the own-null rule, in float64 with weights that are shared out place by place.

    Args:
        experts: With masks and windows as they like.
        tau: τ.
        patch: Side of the patch.
        window: The shares of the sampling within which weights are shared out.
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

    def predict_noise(self, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed: Any = None) -> Tensor:
        """x0 at σ = `timestep`."""
        options, sigma = model_options or {}, float(timestep[0])
        levels = options["transformer_options"]["sample_sigmas"]
        sampling = self.experts[0].model.get_model_object("model_sampling")
        active = [expert for expert in self.experts if self._is_active(expert, sigma)]
        unit, angle = own_point(sampling, x, sigma)
        predictions = [self._ask(expert, unit, angle, levels) for expert in active]
        ones = torch.ones(1, 1, *x.shape[2:], dtype=torch.float64)
        masks = [ones if expert.mask is None else expert.mask.double()[:, None] for expert in active]
        weights = [expert.weight * mask for expert, mask in zip(active, masks, strict=True)]
        covered = sum(expert.reliability * mask for expert, mask in zip(active, masks, strict=True))
        bare = sum(expert.reliability for expert in active)
        u = sum(
            torch.where(covered > 0, expert.reliability * mask / covered.clamp(min=1e-300), expert.reliability / bare)
            * null
            for expert, mask, (_, null) in zip(active, masks, predictions, strict=True)
        )
        start, end = self.window
        first = math.inf if start == 0 else float(sampling.percent_to_sigma(start))
        last = -math.inf if end == 1 else float(sampling.percent_to_sigma(end))
        if first >= sigma > last:
            noises = [(unit - math.cos(angle) * x0) / math.sin(angle) for x0 in (*(c for c, _ in predictions), u)]
            weights = shared_out(weights, noises[:-1], noises[-1], self.tau, self.patch)
        bases = [null if self.own_nulls else u for _, null in predictions]
        pulls = [w * (cond - base) for w, (cond, _), base in zip(weights, predictions, bases, strict=True)]
        if not any(name.endswith("cfg_function") for name in options):
            return (u + sum(pulls)).float()
        scale = sum(expert.weight for expert in active)
        return self._through_hooks((u + sum(pulls) / scale).float(), u.float(), scale, x, timestep, options)
