"""The own-null rule over several MODELs: every condition is measured against its own expert's null."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from ...mcdm_core.product.coefficients import Coefficient, Coefficients, anywhere, total_of
from ...mcdm_core.product.own_null import needs_own_null, own_null_guidance_form
from .guider import ProductGuider
from .plan import Plan, Planner
from .product import Product


class OwnNullPlanner(Planner):
    """Plans in which a null counts for its expert's reliability and against its weight."""

    def _coefficients(self, active: tuple[int, ...], want_null: bool) -> Coefficients:
        found = super()._coefficients(active, want_null=True)  # U enters also where the weights sum to 1
        nulls = [
            j
            for j, (w, a) in enumerate(zip(found.weights, found.reliabilities, strict=True))
            if needs_own_null(w, a) or (want_null and anywhere(a != 0))
        ]
        return replace(found, nulls=nulls)

    def _why_null(self, index: int, total: Coefficient, want_null: bool) -> str:
        expert = self.experts[index]
        return (
            f"whose weight is {expert.weight:g} and reliability {expert.reliability:g}, and got none; connect its "
            "null, which the own-null rule needs for both, or set both to 0"
        )


class OwnNullProduct(Product):
    """Σ_j a_j D_j(∅) + Σ_i w_i (D_i(x_i) − D_i(∅)) of one run.

    The coefficient of a null that several experts share is Σ (a_j − w_j) over them; where it is 0, the null is not
    evaluated.
    """

    rule = staticmethod(own_null_guidance_form)

    def _plan(self, sigma: float, want_null: bool) -> Plan:
        plan = super()._plan(sigma, want_null)
        return plan if want_null else replace(plan, nulls=[j for j in plan.nulls if self._counts(plan, j)])

    def _counts(self, plan: Plan, j: int) -> bool:
        """Whether the null of expert j, which others may share, has a coefficient."""
        sharing = self._sharing(j)
        weight, reliability = (total_of([of[i] for i in sharing]) for of in (plan.weights, plan.reliabilities))
        return needs_own_null(weight, reliability)

    def _sharing(self, j: int) -> list[int]:
        return [i for i, owner in enumerate(self._null_owner) if owner == self._null_owner[j]]

    def _evaluate(
        self, plan: Plan, x: Tensor, sigma: Tensor, model_options: dict[str, Any]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """As the product's, with one condition in place of a null that cancels, for all experts that share it."""
        cond, null = super()._evaluate(plan, x, sigma, model_options)
        for j in range(len(null)):
            sharing = self._sharing(j)
            given = [*(null[i] for i in sharing), *(cond[i] for i in sharing)]
            null[j] = next((prediction for prediction in given if prediction is not None), None)
        return cond, null


class OwnNullGuider(ProductGuider):
    """Combines experts by composable diffusion: D = Σ_j a_j D_j(∅) + Σ_i w_i (D_i(x_i) − D_i(∅)).

    With one expert the result is CFGGuider's at cfg = w, bit for bit.
    """

    planner = OwnNullPlanner
    product = OwnNullProduct
