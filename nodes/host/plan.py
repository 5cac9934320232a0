"""Which experts act at a noise level, with which coefficients, and which of their predictions that needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...mcdm_core.product.coefficients import Coefficient, Coefficients, coefficients_of, warn_of_uncovered
from ...mcdm_core.product.term import active_sets, active_terms, window_of
from .chain import Experts, describe

_WHY_HOOKS = (
    "because a node that changed the guidance of its MODEL asks for it, and got none; connect its null, or remove that "
    "node"
)


@dataclass(frozen=True)
class Plan:
    """Coefficients of Eq. 10 while one set of experts is active; the lists have one entry per expert of the chain.

    Attributes:
        weights: w_i, scaled by the masks; 0 for inactive experts.
        reliabilities: a_j, normalized; 0 where no null is needed.
        scale: The cfg value that hooks are shown, W for a number.
        conditions: Indices of the experts whose conditional prediction is needed.
        nulls: Indices of the experts whose null prediction is needed, by the rule or by a hook.
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

    Attributes:
        null_is_read: Whether a hook reads more of the first expert's null pass than U: SAG's reads its attention. A
            node that asks for the null at any weights has such a hook.
    """

    def __init__(self, experts: Experts, masks: Sequence[Tensor | None], reference: Any):
        self.experts = experts
        self.masks = masks
        self.names = [describe(experts, index) for index in range(len(experts))]
        self.windows = [
            window_of(expert.start, expert.end, lambda share: float(reference.percent_to_sigma(share)))
            for expert in experts
        ]
        self.null_is_read = bool(experts[0].model.model_options.get("disable_cfg1_optimization"))
        self._range = (-math.inf, math.inf)
        self._sets: list[tuple[int, ...]] = []
        self._plans: dict[tuple, Plan] = {}
        self._warned_uncovered = False

    def check_run(self, sigmas: Tensor) -> None:
        """Refuse a run that would fail later.

        Args:
            sigmas: Noise levels of the run, descending, or ascending where noise is added.

        Raises:
            ValueError: If no expert is active at some level, or the active ones cannot be combined.
        """
        self._sets = active_sets(self.windows, sigmas)
        self._range = (float(sigmas.min()), float(sigmas.max()))
        self._check_sets(want_null=False)

    def at(self, sigma: float, want_null: bool) -> Plan:
        """The plan at a noise level of the reference.

        Args:
            sigma: Noise level; samplers that add noise may ask above those of the run, where its highest one counts.
            want_null: Whether the sampler asks for the null also where W = 1.

        Raises:
            ValueError: If the active experts cannot be combined.
        """
        if want_null:  # known from the first call on; what is missing then must not come up later
            self._check_sets(want_null)
        low, high = self._range
        return self._plan(active_terms(self.windows, min(max(sigma, low), high)), want_null)

    def _check_sets(self, want_null: bool) -> None:
        for active in self._sets:
            self._plan(active, want_null)

    def reweight(self, weights: Sequence[float]) -> None:
        """Change the experts' weights in the middle of a run."""
        self.experts = tuple(e._replace(weight=w) for e, w in zip(self.experts, weights, strict=True))
        self._plans.clear()

    def _plan(self, active: tuple[int, ...], want_null: bool) -> Plan:
        key = (active, want_null)
        if key not in self._plans:
            self._plans[key] = self._make_plan(active, want_null)
        return self._plans[key]

    def _make_plan(self, active: tuple[int, ...], want_null: bool) -> Plan:
        found = self._coefficients(active, want_null)
        nulls = list(dict.fromkeys([*([0] if self.null_is_read else []), *found.nulls]))
        for j in nulls:
            if self.experts[j].null is None:
                why = self._why_null(j, found.total, want_null) if j in found.nulls else _WHY_HOOKS
                raise ValueError(f"Expected a null for {self.names[j]}, {why}.")
        self._warned_uncovered = self._warned_uncovered or warn_of_uncovered(self.experts, active, self.masks)
        return Plan(found.weights, found.reliabilities, _scale(found.total), found.conditions, nulls)

    def _coefficients(self, active: tuple[int, ...], want_null: bool) -> Coefficients:
        return coefficients_of(self.experts, active, self.masks, self.names, want_null)

    def _why_null(self, index: int, total: Coefficient, want_null: bool) -> str:
        """The rest of a refusal, after the name of an expert without a null."""
        reliability = f"whose reliability is {self.experts[index].reliability:g}"
        remedy = "connect its null, set its reliability to 0"
        if want_null:
            return (
                f"{reliability}, because the sampler or a node asks for the unconditional estimate whatever the "
                f"weights sum to, as CFG++ samplers do, and got none; {remedy}, or choose another sampler"
            )
        weights = "a map" if isinstance(total, Tensor) else f"{total:g}"
        return f"{reliability} while the weights sum to {weights}, and got none; {remedy}, or let the weights sum to 1"


def _scale(total: Coefficient) -> float:
    """What CFG hooks see as cfg: W, the largest |W| of a map, and 1 instead of 0.

    Weights that cancel leave a rounding error, by which nothing must be divided.
    """
    scale = float(total.abs().max()) if isinstance(total, Tensor) else float(total)
    return scale if abs(scale) > 1e-6 else 1.0
