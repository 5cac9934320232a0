"""The own-null rule over several MODELs: every condition is measured against its own expert's null."""

from __future__ import annotations

from dataclasses import replace

from ...mcdm_core.coefficients import Coefficient, Coefficients, anywhere
from ...mcdm_core.own_null import needs_own_null, own_null_guidance_form
from .guider import ProductGuider
from .plan import Planner
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
    """Σ_j a_j D_j(∅) + Σ_i w_i (D_i(x_i) − D_i(∅)) of one run."""

    rule = staticmethod(own_null_guidance_form)


class OwnNullGuider(ProductGuider):
    """Combines experts by composable diffusion: D = Σ_j a_j D_j(∅) + Σ_i w_i (D_i(x_i) − D_i(∅)).

    With one expert the result is CFGGuider's at cfg = w, bit for bit.
    """

    planner = OwnNullPlanner
    product = OwnNullProduct
