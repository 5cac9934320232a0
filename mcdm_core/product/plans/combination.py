"""A product's experts and how they are combined: from these, and from who acts, follows the plan at a noise level.

`Planner` finds out the `Moment` and calls a `MakePlan`: `plan_product`, `PlanAcrossSpaces`, or `plan_separately`, which
calls the first. They take weights from `Combination.draft`, where methods change them, and then its `reliabilities`. At
last `check_nulls` refuses missing nulls, in words that the host hands over as `Remedies`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from torch import Tensor

from ..evaluation.plan import Plan
from ..methods.method import Draft, Methods
from ..rules.coefficients import (
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
from ..terms.term_numbers import TermError, TermNumbers


class Moment(NamedTuple):
    """What the plan at a noise level depends on; levels at which it is the same share their plan.

    Attributes:
        acting: Indices of the experts that act, ascending.
        factors: For each expert the factor of its weight.
        phases: For each method its phase.
        want_null: Whether the caller wants U even where W is 1.
    """

    acting: tuple[int, ...]
    factors: tuple[float, ...]
    phases: tuple[Hashable, ...]
    want_null: bool = False


@dataclass(frozen=True)
class Remedies:
    """What a refusal says of a missing null where the caller alone knows who wants it, and how it is given.

    Attributes:
        give: What to do about it.
        read: Why something beside the rule reads a null, and what to do other than give it.
        wanted: Who wants U whatever the weights sum to, and what to do other than give the null.
    """

    give: str = "Give its null"
    read: tuple[str, str] = ("because something beside the product reads it", "or let nothing else read it")
    wanted: tuple[str, str] = ("U is asked for whatever the weights sum to", "don't ask for U")


@dataclass(frozen=True, kw_only=True)
class Combination:
    """The experts of a product and how they are combined, throughout a run.

    Attributes:
        terms: The experts' numbers.
        rule: How predictions are combined.
        masks: Each expert's mask, values 0…1, in shapes that broadcast to the sample; None is everywhere. Empty if no
            expert has one.
        masks_on_host: The same on the host, if they are elsewhere. Then plans of one space are decided by these:
            looking into a mask on a device waits for it.
        have_null: Whether each expert has a null; empty if all have.
        null_owners: For each expert the first one that has the same null; empty if none is shared.
        methods: The methods of the product.
        as_guidance: Whether the plans' scale s is W (see `guidance_scale`), for a caller that changes guidance further,
            as ComfyUI's CFG hooks do; else it is 1, and C is the product.
        read_nulls: Experts whose null something beside the product reads, so that it is asked even where it cancels.
        remedies: The caller's part of a refusal of a missing null.
    """

    terms: Sequence[TermNumbers]
    rule: Rule
    masks: Sequence[Tensor | None] = ()
    masks_on_host: Sequence[Tensor | None] = ()
    have_null: Sequence[bool] = ()
    null_owners: Sequence[int] = ()
    methods: Methods = field(default_factory=Methods)
    as_guidance: bool = False
    read_nulls: Collection[int] = ()
    remedies: Remedies = field(default_factory=Remedies)

    @property
    def owners(self) -> Sequence[int]:
        """For each expert the first one that has the same null."""
        return self.null_owners or range(len(self.terms))

    @property
    def known_masks(self) -> Sequence[Tensor | None]:
        """The masks where they can be looked into."""
        return self.masks_on_host or self.masks

    def with_weights(self, weights: Sequence[float]) -> Combination:
        """The same with other weights.

        Raises:
            ValueError: If one is not finite.
        """
        return replace(self, terms=[replace(term, weight=w) for term, w in zip(self.terms, weights, strict=True)])

    def draft(self, moment: Moment) -> Draft:
        """The weights of a plan, scaled by the masks and changed by the methods.

        Raises:
            ValueError: If no expert acts.
        """
        if not moment.acting:
            raise ValueError("Expected an active expert at this noise level and got none; widen a window.")
        masks = self.masks or [None] * len(self.terms)
        given = {i: self.terms[i].weight * moment.factors[i] for i in moment.acting}
        weights: list[Coefficient] = [0.0] * len(self.terms)
        for i, weight in given.items():
            mask = masks[i]
            weights[i] = weight if mask is None else weight * mask
        draft = Draft(self.terms, masks, given, weights)
        for method, phase in zip(self.methods, moment.phases, strict=True):
            draft = method.draft(draft, phase)
        return draft

    def coefficients(self, draft: Draft, moment: Moment) -> Coefficients:
        """The weights of a draft, and reliabilities; those of an unguided one make nulls cancel.

        Raises:
            TermError: If U is needed, and all reliabilities are 0.
        """
        if not draft.guided and self.rule.always_combines_nulls:
            return Coefficients(draft.weights, list(draft.weights))
        return Coefficients(draft.weights, self.reliabilities(draft, moment))

    def reliabilities(self, draft: Draft, moment: Moment) -> list[Coefficient]:
        """a_j, normalized over the acting experts; all 0 if U is not needed anywhere.

        Raises:
            TermError: If it is, and all reliabilities are 0.
        """
        reliabilities: list[Coefficient] = [0.0] * len(self.terms)
        always = moment.want_null or self.rule.always_combines_nulls
        if not always and everywhere(is_one(total_of(draft.weights))):
            return reliabilities
        given = [self.terms[i].reliability for i in moment.acting]
        if sum(given) <= 0:
            reason = "because the negative is asked for whatever the weights sum to"
            raise TermError(
                "Expected reliabilities with a positive sum and got 0 for "
                f"{', '.join(self.terms[i].label for i in moment.acting)}; raise the reliability of one of them, "
                f"{reason if always else 'or let the weights sum to 1'}.",
                moment.acting[0],
                "reliability",
            )
        normalized = normalize_reliabilities(given, [draft.masks[i] for i in moment.acting])
        for i, reliability in zip(moment.acting, normalized, strict=True):
            reliabilities[i] = reliability
        return reliabilities

    def check_nulls(self, nulls: Iterable[int], why: Callable[[int], tuple[str, str]]) -> None:
        """Refuse a plan that lacks a null.

        Args:
            nulls: The experts whose null it takes.
            why: Why it takes that of an expert, and what to do other than give it.

        Raises:
            TermError: If one is missing.
        """
        for j in nulls if self.have_null else ():
            if not self.have_null[j]:
                reason, remedy = why(j)
                sentence = f"{self.terms[j].subject} needs a negative, {reason}. {self.remedies.give}, {remedy}."
                raise TermError(sentence, j, "null")


AnyPlan = TypeVar("AnyPlan", bound=Plan, covariant=True)

MakePlan = Callable[[Combination, Moment], AnyPlan]
"""Makes the plan of a combination at a moment, or refuses it by a ValueError."""


def plan_product(combination: Combination, moment: Moment, why: tuple[str, str] | None = None) -> Plan:
    """The plan of a product of one space.

    Args:
        combination: Its experts.
        moment: What the plan depends on.
        why: Why nulls are needed and what to do other than give them, where the reasons of a product don't say it.

    Raises:
        ValueError: If no expert acts, or those that do cannot be combined.
    """
    if combination.masks_on_host:
        on_host = replace(combination, masks=combination.masks_on_host, masks_on_host=())
        return _on_device(combination, moment, plan_product(on_host, moment, why))
    draft = combination.draft(moment)
    check_unguided(draft)
    coefficients = combination.coefficients(draft, moment)
    rule, owners, wanted = combination.rule, combination.owners, moment.want_null

    def null_enters(j: int) -> bool:
        """Whether a null enters the result, with the coefficients of all experts that share it."""
        together = [i for i, owner in enumerate(owners) if owner == owners[j]]
        weight, reliability = (
            total_of([of[i] for i in together]) for of in (coefficients.weights, coefficients.reliabilities)
        )
        return rule.needs_null(weight, reliability, coefficients.total) or (wanted and anywhere(reliability != 0))

    counted = [*filter(null_enters, moment.acting)]
    nulls = tuple(dict.fromkeys([*combination.read_nulls, *counted]))

    def why_null(j: int) -> tuple[str, str]:
        if why is not None or j not in counted:
            return why or combination.remedies.read
        term = combination.terms[j]
        if rule.always_combines_nulls:
            return rule.why(term, coefficients.total)
        reason, remedy = rule.why(term, coefficients.total)
        if wanted:
            asked, remedy = combination.remedies.wanted
            reason = f"because its reliability is {term.reliability:g} and {asked}"
        others = any(combination.terms[i].reliability for i in moment.acting if i != j)
        return reason, f"set its reliability to 0, or {remedy}" if others else f"or {remedy}"

    combination.check_nulls(nulls, why_null)
    return Plan(
        weights=coefficients.weights,
        reliabilities=coefficients.reliabilities,
        scale=guidance_scale(coefficients.total) if combination.as_guidance else 1.0,
        rule=rule,
        conditions=tuple(i for i, w in enumerate(coefficients.weights) if anywhere(w != 0)),
        nulls=nulls,
        null_owners=owners,
    )


def _on_device(combination: Combination, moment: Moment, on_host: Plan) -> Plan:
    """The plan that was made of masks on the host, with maps where the masks are."""
    draft, reliabilities = combination.draft(moment), on_host.reliabilities
    if any(isinstance(a, Tensor) for a in reliabilities):
        reliabilities = combination.coefficients(draft, moment._replace(want_null=True)).reliabilities
    return replace(on_host, weights=draft.weights, reliabilities=reliabilities, on_host=on_host)


def check_unguided(draft: Draft) -> None:
    """Refuse weights that don't sum to 1 outside a guidance interval, as those of every plan have to."""
    total = total_of(draft.weights)
    if not draft.guided and not everywhere(is_one(total)):
        changed = "" if isinstance(total, Tensor) else f" to {total:g} in all"
        raise ValueError(
            "Expected weights that sum to 1 outside a guidance interval, where negatives cancel, and got ones that a "
            f"method has changed{changed}; let it leave their sum."
        )
