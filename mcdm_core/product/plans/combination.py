"""Plans of a product: the coefficients of the experts that act, and the nulls that these take."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from torch import Tensor

from ..methods.method import Draft, Method
from ..plan import Plan
from ..rules.coefficients import (
    FACTS,
    Coefficient,
    Coefficients,
    anywhere,
    everywhere,
    guidance_scale,
    is_one,
    normalize_reliabilities,
    total_of,
)
from ..rules.rule import Rule
from ..term_settings import TermError, TermSettings
from .needed_nulls import NeededNulls, null_enters, why_needed

_Plans = TypeVar("_Plans", bound="PlansFromProduct")


class PlanMaker(Protocol):
    """Makes the plan for a set of experts."""

    @property
    def terms(self) -> Sequence[TermSettings]:
        """The settings of all experts."""

    @property
    def masks(self) -> Sequence[Tensor | None]:
        """Each expert's mask; empty if no expert has one."""

    @property
    def masks_on_host(self) -> Sequence[Tensor | None]:
        """The same on the host; empty if they are there."""

    @property
    def methods(self) -> Sequence[Method]:
        """The methods of the product."""

    def make(
        self, acting: tuple[int, ...], want_null: bool, factors: Sequence[float], phases: Sequence[Hashable]
    ) -> Plan:
        """A plan.

        Args:
            acting: Indices of the experts that act, ascending.
            want_null: Whether the caller wants U even where W is 1.
            factors: For each expert the factor of its weight.
            phases: For each method its phase.

        Raises:
            ValueError: If no expert acts, or those that do cannot be combined.
        """

    def with_weights(self, weights: Sequence[float]) -> PlanMaker:
        """The same with other weights.

        Raises:
            ValueError: If one is not finite.
        """

    def with_null_owners(self, owners: Sequence[int]) -> PlanMaker:
        """The same for experts that share nulls, which are asked once.

        Args:
            owners: For each expert the first one that has the same null.
        """


@dataclass(frozen=True, kw_only=True)
class ProductPlans:
    """Makes the plans of a product by Eq. 10, or by another rule.

    Attributes:
        terms: The experts' settings.
        rule: How predictions are combined.
        masks: Each expert's mask, values 0…1, in shapes that broadcast to the sample; None is everywhere. Empty if no
            expert has one.
        masks_on_host: The same on the host, if they are elsewhere. Then plans of one space are decided by these:
            looking into a mask on a device waits for it.
        have_null: Whether each expert has a null; empty if all have.
        null_owners: For each expert the first one that has the same null; empty if none is shared.
        methods: The methods of the product.
        as_guidance: Whether the plans' scale is W, which ComfyUI's hooks on guidance expect; else it is 1.
        null_is_read: Whether something beside the rule reads the first expert's null.
        give_null: What a refusal tells the user to do about a missing null.
        why_missing: Why nulls are needed and what to do other than give them, in place of `why_needed`.
    """

    terms: Sequence[TermSettings]
    rule: Rule
    masks: Sequence[Tensor | None] = ()
    masks_on_host: Sequence[Tensor | None] = ()
    have_null: Sequence[bool] = ()
    null_owners: Sequence[int] = ()
    methods: Sequence[Method] = ()
    as_guidance: bool = False
    null_is_read: bool = False
    give_null: str = "Give its null"
    why_missing: tuple[str, str] | None = None

    @property
    def owners(self) -> Sequence[int]:
        """For each expert the first one that has the same null."""
        return self.null_owners or range(len(self.terms))

    def with_weights(self, weights: Sequence[float]) -> ProductPlans:
        """See `PlanMaker`."""
        return replace(self, terms=[replace(term, weight=w) for term, w in zip(self.terms, weights, strict=True)])

    def with_null_owners(self, owners: Sequence[int]) -> ProductPlans:
        """See `PlanMaker`."""
        return replace(self, null_owners=owners)

    def make(
        self, acting: tuple[int, ...], want_null: bool, factors: Sequence[float], phases: Sequence[Hashable]
    ) -> Plan:
        """See `PlanMaker`."""
        if self.masks_on_host:
            on_host = replace(self, masks=self.masks_on_host, masks_on_host=())
            return self._decided(on_host.make(acting, want_null, factors, phases), acting, factors, phases)
        draft = self.draft(acting, factors, phases)
        coefficients = self._coefficients(draft, acting, want_null)
        needed = NeededNulls(
            read=(0,) if self.null_is_read else (),
            counted=tuple(j for j in acting if null_enters(j, self.rule, coefficients, self.owners, want_null)),
            wanted=want_null,
        )
        self.check_nulls(needed, coefficients.total)
        return Plan(
            weights=coefficients.weights,
            reliabilities=coefficients.reliabilities,
            scale=guidance_scale(coefficients.total) if self.as_guidance else 1.0,
            rule=self.rule,
            conditions=tuple(i for i, w in enumerate(coefficients.weights) if anywhere(w != 0)),
            nulls=needed.all,
            null_owners=self.owners,
        )

    def _decided(
        self, plan: Plan, acting: tuple[int, ...], factors: Sequence[float], phases: Sequence[Hashable]
    ) -> Plan:
        """A plan made of masks on the host, with the same maps where the masks are."""
        draft, reliabilities = self.draft(acting, factors, phases), plan.reliabilities
        if any(isinstance(a, Tensor) for a in reliabilities):
            reliabilities = self._coefficients(draft, acting, want_null=True).reliabilities
        found = replace(plan, weights=draft.weights, reliabilities=reliabilities)
        vars(found).update({fact: getattr(plan, fact) for fact in FACTS})
        return found

    def draft(self, acting: tuple[int, ...], factors: Sequence[float], phases: Sequence[Hashable]) -> Draft:
        """The weights of a plan, scaled by the masks and changed by the methods.

        Args:
            acting: See `make`.
            factors: Likewise.
            phases: Likewise.

        Raises:
            ValueError: If no expert acts.
        """
        if not acting:
            raise ValueError("Expected an active expert at this noise level and got none; widen a window.")
        masks = self.masks or [None] * len(self.terms)
        numbers = {i: self.terms[i].weight * factors[i] for i in acting}
        weights: list[Coefficient] = [0.0] * len(self.terms)
        for i, number in numbers.items():
            mask = masks[i]
            weights[i] = number if mask is None else number * mask
        draft = Draft(self.terms, masks, numbers, weights)
        for method, phase in zip(self.methods, phases, strict=True):
            draft = method.draft(draft, phase)
        return draft

    def _coefficients(self, draft: Draft, acting: Sequence[int], want_null: bool) -> Coefficients:
        """The weights of a draft, and reliabilities; those of an unguided one make nulls cancel."""
        if not draft.guided and self.rule.always_combines_nulls:
            return Coefficients(draft.weights, list(draft.weights))
        return Coefficients(draft.weights, self._reliabilities(draft, acting, want_null))

    def all_reliabilities(self, draft: Draft, acting: Sequence[int]) -> list[Coefficient]:
        """a_j, normalized over the acting experts whatever the weights sum to; the weights where nothing is guided.

        Args:
            draft: The weights.
            acting: Indices of the experts that act.

        Raises:
            ValueError: If all are 0.
        """
        return self._reliabilities(draft, acting, True) if draft.guided else list(draft.weights)

    def _reliabilities(self, draft: Draft, acting: Sequence[int], want_null: bool) -> list[Coefficient]:
        """a_j, normalized over the acting experts; all 0 if U is not needed anywhere."""
        found: list[Coefficient] = [0.0] * len(self.terms)
        always = want_null or self.rule.always_combines_nulls
        if not always and everywhere(is_one(total_of(draft.weights))):
            return found
        given = [self.terms[i].reliability for i in acting]
        if sum(given) <= 0:
            reason = "because the unconditional estimate is asked for whatever the weights sum to"
            raise TermError(
                "Expected reliabilities with a positive sum and got 0 for "
                f"{', '.join(self.terms[i].label for i in acting)}; raise the reliability of one of them, "
                f"{reason if always else 'or let the weights sum to 1'}.",
                acting[0],
                "reliability",
            )
        normalized = normalize_reliabilities(given, [draft.masks[i] for i in acting])
        for i, reliability in zip(acting, normalized, strict=True):
            found[i] = reliability
        return found

    def check_nulls(self, needed: NeededNulls, total: Coefficient) -> None:
        """Refuse a plan that lacks a null.

        Args:
            needed: The nulls that it takes.
            total: W.

        Raises:
            TermError: If one is missing.
        """
        for j in needed.all if self.have_null else ():
            if not self.have_null[j]:
                term = self.terms[j]
                reason, remedy = self.why_missing or why_needed(j, needed, term, self.rule, total)
                raise TermError(f"{term.subject} needs a negative, {reason}. {self.give_null}, {remedy}.", j, "null")


@dataclass(frozen=True)
class PlansFromProduct:
    """What makers of plans share that combine a product's experts otherwise: all but `make` is the product's.

    Attributes:
        product: Makes the product's plans.
    """

    product: ProductPlans

    @property
    def terms(self) -> Sequence[TermSettings]:
        """See `PlanMaker`."""
        return self.product.terms

    @property
    def masks(self) -> Sequence[Tensor | None]:
        """See `PlanMaker`."""
        return self.product.masks

    @property
    def masks_on_host(self) -> Sequence[Tensor | None]:
        """See `PlanMaker`."""
        return self.product.masks_on_host

    @property
    def methods(self) -> Sequence[Method]:
        """See `PlanMaker`."""
        return self.product.methods

    def with_weights(self: _Plans, weights: Sequence[float]) -> _Plans:
        """See `PlanMaker`."""
        return replace(self, product=self.product.with_weights(weights))

    def with_null_owners(self: _Plans, owners: Sequence[int]) -> _Plans:
        """See `PlanMaker`."""
        return replace(self, product=self.product.with_null_owners(owners))
