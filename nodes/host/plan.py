"""Which experts act at a noise level, with which coefficients, and which of their predictions that needs."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...mcdm_core.product import Coefficient, anywhere, everywhere, is_one, normalize_reliabilities, total_of
from ...mcdm_core.terms import active_sets, active_terms
from .chain import Experts, describe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Coefficients of Eq. 10 while one set of experts is active; the lists have one entry per expert of the chain.

    Attributes:
        weights: w_i, scaled by the masks; 0 for inactive experts.
        reliabilities: a_j, normalized; 0 where the null is not needed.
        scale: The cfg value that hooks are shown, W for a number.
        conditions: Indices of the experts whose conditional prediction is needed.
        nulls: Indices of the experts whose null prediction is needed.
    """

    weights: list[Coefficient]
    reliabilities: list[Coefficient]
    scale: float
    conditions: list[int]
    nulls: list[int]


class Planner:
    """Makes the plans of one run.

    Args:
        experts: The chain.
        masks: Each expert's mask in a shape that broadcasts to the sample, None for everywhere.
        reference: The reference expert's model_sampling, on which the windows are resolved.
    """

    def __init__(self, experts: Experts, masks: Sequence[Tensor | None], reference: Any):
        self.experts = experts
        self.masks = masks
        self.windows = [_window(expert.start, expert.end, reference) for expert in experts]
        self._plans: dict[tuple, Plan] = {}
        self._warned_uncovered = False

    def check_run(self, sigmas: Tensor) -> None:
        """Refuse a run that would fail later.

        Args:
            sigmas: Descending noise levels of the run.

        Raises:
            ValueError: If no expert is active at some level, or the active ones cannot be combined.
        """
        first, last = float(sigmas[0]), float(sigmas[-1])
        for sigma, active in active_sets(self.windows, first, last).items():
            if not active:
                raise ValueError(
                    f"Expected an active expert at every noise level and got none at σ = {sigma:.4g}; widen start and "
                    "end of an expert so that the windows leave no gap."
                )
            self._plan(active, want_null=False)

    def at(self, sigma: float, want_null: bool) -> Plan:
        """The plan at a noise level of the reference.

        Args:
            sigma: Noise level.
            want_null: Whether the sampler asks for the null also where W = 1.

        Raises:
            ValueError: If the active experts cannot be combined.
        """
        return self._plan(active_terms(self.windows, sigma), want_null)

    def _plan(self, active: tuple[int, ...], want_null: bool) -> Plan:
        key = (active, want_null)
        if key not in self._plans:
            self._plans[key] = self._make_plan(active, want_null)
        return self._plans[key]

    def _make_plan(self, active: tuple[int, ...], want_null: bool) -> Plan:
        count = len(self.experts)
        weights: list[Coefficient] = [0.0] * count
        for i in active:
            mask = self.masks[i]
            weights[i] = self.experts[i].weight if mask is None else self.experts[i].weight * mask
        total = total_of(weights)
        reliabilities: list[Coefficient] = [0.0] * count
        if want_null or not everywhere(is_one(total)):
            shares = self._reliabilities(active)
            for i, share in zip(active, shares, strict=True):
                reliabilities[i] = share
        nulls = [j for j, a in enumerate(reliabilities) if anywhere(a != 0)]
        for j in nulls:
            self._check_null(j, total)
        self._warn_if_uncovered(active)
        conditions = [i for i, w in enumerate(weights) if anywhere(w != 0)]
        return Plan(weights, reliabilities, _scale(total), conditions, nulls)

    def _reliabilities(self, active: tuple[int, ...]) -> list[Coefficient]:
        given = [self.experts[i].reliability for i in active]
        if sum(given) <= 0:
            named = ", ".join(describe(self.experts, i) for i in active)
            raise ValueError(
                f"Expected reliabilities with a positive sum and got 0 for {named}; raise the reliability of one of "
                "them, or let the weights sum to 1."
            )
        return normalize_reliabilities(given, [self.masks[i] for i in active])

    def _check_null(self, index: int, total: Coefficient) -> None:
        expert = self.experts[index]
        if expert.null is None:
            weights = f"{total:g}" if not isinstance(total, Tensor) else "a map"
            raise ValueError(
                f"Expected a null for {describe(self.experts, index)}, whose reliability is {expert.reliability:g} "
                f"while the weights sum to {weights}, and got none; connect its null, set its reliability to 0, or let "
                "the weights sum to 1."
            )

    def _warn_if_uncovered(self, active: tuple[int, ...]) -> None:
        masks = [self.masks[i] for i in active]
        if self._warned_uncovered or any(mask is None for mask in masks):
            return
        share = (sum(masks) == 0).float().mean().item()
        if share > 0:
            logger.warning(
                "No mask covers %.1f %% of the picture; the unconditional estimate is used there.", 100 * share
            )
            self._warned_uncovered = True


def _window(start: float, end: float, reference: Any) -> tuple[float, float]:
    """Noise levels (σ_start, σ_end); the expert is active for σ_start ≥ σ > σ_end."""
    return (
        math.inf if start <= 0.0 else float(reference.percent_to_sigma(start)),
        0.0 if end >= 1.0 else float(reference.percent_to_sigma(end)),
    )


def _scale(total: Coefficient) -> float:
    """What CFG hooks see as cfg: W, the largest |W| of a map, and 1 instead of 0.

    Weights that cancel leave a rounding error, by which nothing must be divided.
    """
    scale = float(total.abs().max()) if isinstance(total, Tensor) else float(total)
    return scale if abs(scale) > 1e-6 else 1.0
