"""The own-null rule over several MODELs: every condition is measured against its own expert's null."""

from __future__ import annotations

from dataclasses import replace

from ...mcdm_core.coefficients import Coefficient, anywhere
from ...mcdm_core.own_null import needs_own_nulls, own_null_guidance_form
from .guider import ProductGuider
from .plan import Plan, Planner
from .product import Product


class OwnNullPlanner(Planner):
    """Plans in which a null counts for its expert's reliability and for its weight."""

    def _make_plan(self, active: tuple[int, ...], want_null: bool) -> Plan:
        if sum(self.experts[i].reliability for i in active) <= 0:
            named = ", ".join(self.names[i] for i in active)
            raise ValueError(
                f"Expected reliabilities with a positive sum and got 0 for {named}; raise the reliability of one of "
                "them, because the own-null rule always has an unconditional estimate."
            )
        plan = super()._make_plan(active, want_null=True)  # U enters also where the weights sum to 1
        own = needs_own_nulls(plan.weights, plan.reliabilities)
        nulls = [
            j
            for j, (w, a) in enumerate(zip(plan.weights, plan.reliabilities, strict=True))
            if (anywhere(a != 0) and (own or want_null)) or (anywhere(w != 0) and own)
        ]
        for j in nulls:
            if self.experts[j].null is None:
                raise ValueError(
                    f"Expected a null for {self.names[j]}, whose weight is {self.experts[j].weight:g} and "
                    f"reliability {self.experts[j].reliability:g}, and got none; connect its null, which the own-null "
                    "rule needs for both, or set both to 0."
                )
        return replace(plan, nulls=nulls)

    def _check_null(self, index: int, total: Coefficient) -> None:
        """Left to `_make_plan`: whether a null counts depends on all coefficients."""


class OwnNullProduct(Product):
    """Σ_j a_j D_j(∅) + Σ_i w_i (D_i(x_i) − D_i(∅)) of one run."""

    rule = staticmethod(own_null_guidance_form)


class OwnNullGuider(ProductGuider):
    """Combines experts by composable diffusion: D = Σ_j a_j D_j(∅) + Σ_i w_i (D_i(x_i) − D_i(∅)).

    With one expert the result is CFGGuider's at cfg = w, bit for bit.
    """

    planner = OwnNullPlanner
    product = OwnNullProduct
