"""Plans of a product across spaces: Eq. 10 within each space, and each guided away from its own null between them.

Let W⁺, W⁻ be the sums of a space's positive weights and of the absolute values of its negative ones, W = W⁺ − W⁻, and A
the sum of its reliabilities, which are normalized over all spaces. With P and N the means of its conditional
predictions by the positive and by the negative weights, U that of its unconditional ones by the reliabilities, and T
the map to the reference's space,

    x0 = Σ_s [ W⁺ T(P) − W⁻ T(N) + (A − W) T(U) ].

With linear maps, each space is guided by its own Eq. 10 at the scale W/A, and the spaces are averaged by A. Across
spaces Eq. 10 itself would take the nulls of one space from another's predictions, whose noise differs: that difference
is no guidance. By the own-null rule, A − W stands for a_j − w_j of each null, and U for their means, too.

An expert says nothing about details that its pictures are too small to hold. There T fills in those of the reference's
U (of its P, where U isn't asked), with factors that sum to A. So the details are the reference's own Eq. 10, with the
other spaces' A given to its U; enlarged pictures without details would blur them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ..evaluation.evaluation import NoiseLevel
from ..evaluation.plan import Plan, Predictions
from ..rules.coefficients import TOLERANCE, Coefficient, anywhere, differs, guidance_scale, total_of
from ..rules.rule import add_weighted
from ..spaces import JointSpaces, resized_coefficient
from ..terms.span import Window
from .combination import Combination, Moment, check_unguided

_WHY_MISSING = (
    "because each latent space is guided away from negatives of its own",
    "or combine models of one family",
)


@dataclass(frozen=True, eq=False)
class Summand:
    """A mean of predictions of one space, carried to the reference's and multiplied.

    Attributes:
        space: Index of the space.
        coefficient: The factor there, a number or a map in the reference's size.
        means: Each prediction's coefficient in the mean, by the index of its expert; they sum to 1 everywhere.
        of_nulls: Whether the predictions are those under the nulls.
    """

    space: int
    coefficient: Coefficient
    means: Mapping[int, Coefficient]
    of_nulls: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class JointPlan(Plan):
    """A plan of experts of several spaces.

    Attributes:
        spaces: The spaces.
        space_of: For each expert the index of its space.
        summands: Whose sum the product is.
        details: The reference's, in whose picture are the details that a smaller one can't hold; None if none is
            smaller, or the reference's experts don't act.
        reliability_of: A of every space, if all of them have U; else empty, and no guidance could be scaled.
    """

    spaces: JointSpaces
    space_of: Sequence[int]
    summands: Sequence[Summand] = ()
    details: Summand | None = None
    reliability_of: Mapping[int, Coefficient] = field(default_factory=dict)

    def is_single(self, index: int) -> bool:
        """Never: predictions of several spaces are combined."""
        return False

    def kappa_of(self, index: int) -> float:
        """κ of the expert's space, see `Plan.kappa_of`."""
        return self.spaces.kappas[self.space_of[index]]

    def pair(self, cond: Predictions, null: Predictions) -> tuple[Tensor, Tensor]:
        """C and U in the reference's space, as `Plan.pair`; both are the combined x0 where a space has no U.

        U = Σ_s A T(U_s), of the maps that are made anyway.
        """
        finer = self.spaces.spaces[0].decode(self._mean(self.details, cond, null)) if self.details else None
        summed, of_u = [], []
        for summand in self.summands:
            mapped = self.spaces.to_reference(summand.space, self._mean(summand, cond, null), finer)
            summed.append(summand.coefficient * mapped)
            if summand.of_nulls and summand.space in self.reliability_of:
                of_u.append(self.reliability_of[summand.space] * mapped)
        total = _sum(summed)
        if not of_u:
            return total, total
        u = _sum(of_u)
        return (u + (total - u) / self.scale if self.scale != 1 else total), u

    def _mean(self, summand: Summand, cond: Predictions, null: Predictions) -> Tensor:
        """The mean of predictions, in its space."""
        own = [null[self.null_owners[i]] if summand.of_nulls else cond[i] for i in summand.means]
        return add_weighted(torch.zeros_like(own[0]), own, [*summand.means.values()])

    def unconditional(self, cond: Predictions, null: Predictions) -> Tensor | None:
        """None: there is no unconditional estimate that all spaces share."""
        return None


@dataclass(frozen=True)
class PlanAcrossSpaces:
    """Makes the plans of a product across spaces, whose masks have the reference's size.

    Attributes:
        spaces: The spaces.
        space_of: For each expert the index of its space.
    """

    spaces: JointSpaces
    space_of: Sequence[int]

    def __call__(self, combination: Combination, moment: Moment) -> JointPlan:
        """The plan at a moment.

        Raises:
            ValueError: If no expert acts, or those that do cannot be combined.
        """
        draft = combination.draft(moment)
        check_unguided(draft)
        weights, reliabilities = draft.weights, list(draft.weights)
        if draft.guided:
            reliabilities = combination.reliabilities(draft, moment._replace(want_null=True))
        members = [[i for i in moment.acting if self.space_of[i] == s] for s in range(len(self.spaces.spaces))]
        sums = {space: total_of([reliabilities[i] for i in own]) for space, own in enumerate(members) if own}
        reliability_of = {space: each for space, each in sums.items() if differs(each, 0.0)}
        summands = [
            summand
            for space, own in enumerate(members)
            for summand in self._summands(space, combination, own, weights, reliabilities)
        ]
        nulls = tuple(dict.fromkeys(j for each in summands if each.of_nulls for j in each.means))
        combination.check_nulls(nulls, lambda _: _WHY_MISSING)
        with_null = {summand.space for summand in summands if summand.of_nulls}
        has_u = not combination.rule.always_combines_nulls and all(space in with_null for space in reliability_of)
        return JointPlan(
            weights=weights,
            reliabilities=reliabilities,
            scale=guidance_scale(total_of(weights)) if combination.as_guidance and has_u else 1.0,
            rule=combination.rule,
            conditions=tuple(i for i, w in enumerate(weights) if anywhere(w != 0)),
            nulls=nulls,
            null_owners=combination.owners,
            spaces=self.spaces,
            space_of=self.space_of,
            summands=tuple(summands),
            details=self._details(combination, summands, reliabilities),
            reliability_of=reliability_of if has_u else {},
        )

    def _summands(
        self,
        space: int,
        combination: Combination,
        own: Sequence[int],
        weights: Sequence[Coefficient],
        reliabilities: Sequence[Coefficient],
    ) -> list[Summand]:
        """The summands of one space, whose experts that act are `own`."""
        summands = self._of_signs(space, {i: weights[i] for i in own})
        if combination.rule.always_combines_nulls:
            return summands + self._of_signs(space, {j: reliabilities[j] - weights[j] for j in own}, of_nulls=True)
        coefficient = total_of([reliabilities[j] for j in own]) - total_of([weights[j] for j in own])
        if own and differs(coefficient, 0.0):
            means = self._means(space, {j: reliabilities[j] for j in own}, _by_reliability(combination, own))
            summands.append(Summand(space, coefficient, means, of_nulls=True))
        return summands

    def _details(
        self, combination: Combination, summands: Sequence[Summand], reliabilities: Sequence[Coefficient]
    ) -> Summand | None:
        """The reference's U, or its P where no null is asked; see `JointPlan.details`."""
        own = [summand for summand in summands if summand.space == 0]
        if not own or not any(self.spaces.is_coarser(summand.space) for summand in summands):
            return None
        nulls = sorted({j for summand in own if summand.of_nulls for j in summand.means})
        if not nulls:
            return own[0]
        means = self._means(0, {j: reliabilities[j] for j in nulls}, _by_reliability(combination, nulls))
        return Summand(0, 1.0, means, of_nulls=True)

    def _of_signs(self, space: int, counts: Mapping[int, Coefficient], of_nulls: bool = False) -> list[Summand]:
        """The mean of predictions of positive coefficients, and that of predictions of negative ones."""
        summands = []
        for sign in (1.0, -1.0):
            parts = {i: _positive(sign * c) for i, c in counts.items()}
            parts = {i: part for i, part in parts.items() if differs(part, 0.0)}
            if parts:
                means = self._means(space, parts, dict.fromkeys(parts, 1 / len(parts)))
                summands.append(Summand(space, sign * total_of([*parts.values()]), means, of_nulls))
        return summands

    def _means(
        self, space: int, parts: Mapping[int, Coefficient], otherwise: Mapping[int, float]
    ) -> dict[int, Coefficient]:
        """Coefficients of a mean in the size of a space: parts divided by their sum, or `otherwise` where that is 0."""
        size = self.spaces.spaces[space].size
        local = {i: resized_coefficient(part, size) for i, part in parts.items()}
        total = total_of([*local.values()])
        if isinstance(total, Tensor):
            safe = torch.where(total > TOLERANCE, total, 1.0)
            means: dict[int, Coefficient] = {
                i: torch.where(total > TOLERANCE, part / safe, otherwise[i]) for i, part in local.items()
            }
        else:
            means = {i: part / total for i, part in local.items()} if total > TOLERANCE else dict(otherwise)
        return {i: mean for i, mean in means.items() if anywhere(mean != 0)}


def _by_reliability(combination: Combination, own: Collection[int]) -> dict[int, float]:
    """The means of U where reliabilities are 0: by those before masks, or else over all nulls that there are."""
    shares = {j: combination.terms[j].reliability for j in own}
    if not any(shares.values()) and combination.have_null:
        shares = {j: float(combination.have_null[j]) for j in own}
    if not any(shares.values()):
        shares = dict.fromkeys(own, 1.0)
    return {j: each / sum(shares.values()) for j, each in shares.items()}


def spaces_ahead(windows: Sequence[Window], space_of: Sequence[int], level: NoiseLevel) -> list[int]:
    """The spaces beside the reference's in which an expert acts at a noise level or below: a sampler has to step them.

    Args:
        windows: The experts'.
        space_of: For each expert the index of its space.
        level: Noise level of the reference; read only where a window ends before the run does.
    """
    others = [(space, end) for space, (_, end) in zip(space_of, windows, strict=True) if space > 0]
    return sorted({space for space, end in others if end == -math.inf or end < level.number})


def check_falling(levels: Sequence[float]) -> None:
    """Refuse noise levels that rise within a run: a space that is left behind has no sample of a higher level.

    Raises:
        ValueError: If they do.
    """
    if any(after > before for before, after in pairwise(levels)):
        raise ValueError(
            "Expected noise levels that fall throughout the run, because experts work on several latent spaces, and "
            "got some that rise; use another scheduler, or combine models of one family."
        )


def _positive(coefficient: Coefficient) -> Coefficient:
    return coefficient.clamp(min=0) if isinstance(coefficient, Tensor) else max(coefficient, 0.0)


def _sum(summands: Sequence[Tensor]) -> Tensor:
    return sum(summands[1:], start=0.0 + summands[0])  # 0.0 makes a −0 a 0
