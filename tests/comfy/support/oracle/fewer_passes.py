"""Fewer passes by brute force: every call asks all experts, and drops the predictions that should be left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import comfy.model_sampling
from torch import Tensor

from ....support.fewer_passes import Remembering, factor, unguided
from .guider import BruteForceGuider, is_within, own_point
from .variants import Expert


class FewerPassesGuider(BruteForceGuider):
    """Eq. 10 in float64 with the policy of Fewer Passes; experts on one MODEL have one null.

    Args:
        experts: Experts without masks and windows.
        curves: A weight curve for each expert, or None.
        interval: The interval of the sampling, from 0 to 1, in which the product is guided.
        remembered: `threshold` and `refresh`.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        curves: Sequence[list | None] = (),
        interval: tuple[float, float] = (0.0, 1.0),
        **remembered: float,
    ):
        super().__init__(experts)
        self.curves = [*curves] or [None] * len(experts)
        self.interval = interval
        self.remembered = remembered
        self.memory: Remembering | None = None

    def predict_noise(self, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed: Any = None) -> Tensor:
        """x0 at σ = `timestep`."""
        options, sigma = model_options or {}, float(timestep[0])
        levels = options["transformer_options"]["sample_sigmas"]
        self.memory = self.memory or Remembering(levels, **self.remembered)
        sampling = self.experts[0].model.get_model_object("model_sampling")
        share = _share_at(sampling, sigma)
        weights = [
            expert.weight * (1.0 if curve is None else factor(curve, share))
            for expert, curve in zip(self.experts, self.curves, strict=True)
        ]
        point = own_point(sampling, x, sigma)
        predictions = [self._ask(expert, *point, levels) for expert in self.experts]
        models = [expert.model for expert in self.experts]
        null_of = {i: models.index(model) for i, model in enumerate(models)}
        cond = {i: found for i, (found, _) in enumerate(predictions)}
        null = {j: predictions[j][1] for j in dict.fromkeys(null_of.values())}
        total = sum(expert.reliability for expert in self.experts)
        shares = [expert.reliability / total for expert in self.experts]

        if not is_within(sampling, self.interval, sigma):
            weights = unguided(weights)
            null = null if options.get("disable_cfg1_optimization") else {}
        cond = {i: found for i, found in cond.items() if weights[i] != 0}
        flow = isinstance(sampling, comfy.model_sampling.CONST)
        noise = sigma if not flow else math.inf if sigma == 1 else sigma / (1 - sigma)
        cond, null = self.memory.call(sigma, noise, cond, null, null_of)
        u = sum(weights[i] * found for i, found in cond.items())
        if null:
            u = sum(a * null[null_of[i]] for i, a in enumerate(shares))
        guidance = sum(weights[i] * (found - u) for i, found in cond.items())
        if not any(name.endswith("cfg_function") for name in options):
            return (u + guidance).float()
        scale = sum(weights) or 1.0
        return self._through_hooks((u + guidance / scale).float(), u.float(), scale, x, timestep, options)


def _share_at(sampling: Any, sigma: float) -> float:
    """The share of the sampling at a noise level, by bisection."""
    share, step = 0.0, 0.5
    while step > 1e-9:
        share, step = (share + step if float(sampling.percent_to_sigma(share + step)) > sigma else share), step / 2
    return share
