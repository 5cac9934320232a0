"""Predictions that stand in for passes within a run: which are left out of a call, and what takes their place."""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .passes import Passes
from .plan import Plan
from .turns import step_at
from .windows import levels_of

logger = logging.getLogger(__name__)

Predictions = dict[int, Tensor]
"""Predictions of x0 by the index of the expert, shape (B, …)."""


class Asked(NamedTuple):
    """What networks are asked in a call.

    Attributes:
        conditions: Experts asked under their condition.
        nulls: Experts asked under their null.
    """

    conditions: tuple[int, ...]
    nulls: tuple[int, ...]

    @property
    def passes(self) -> int:
        """How many predictions that is."""
        return len(self.conditions) + len(self.nulls)


def everything(plan: Plan) -> Asked:
    """All that enters a plan."""
    return Asked(plan.conditions, plan.distinct_nulls)


@dataclass(frozen=True, eq=False)
class _FullCall:
    """A call in which everything was asked, and what may be left out of those that follow."""

    step: int
    asked: Asked
    cond: Predictions
    null: Predictions
    spread: float
    guidance: Predictions
    needed: Asked


class Reuse:
    """What one run remembers, so that later calls ask less.

    A step is full or spares passes, with all its calls: samplers that evaluate twice ask the second time at the next
    step's level, or between the two. After a full step, up to `refresh` − 1 steps leave out what it found similar or
    steady, see `Passes`. What is left out is what it was, relative to a prediction that is asked:

        D_k(σ) = D_r(σ) + s(σ)/s(σ') · (D_k(σ') − D_r(σ')),  s(σ) = σ/√(1 + σ²),

    from the last full call at σ', where r is asked in both, of the same expert if it can be. In terms of v, the
    difference is constant: of the ways that were tried (constant in x0, ε or v, affine in σ, by frequency bands) none
    is better throughout. The first condition of a plan is asked in every call.

    Args:
        passes: What may be left out.
        sigmas: Noise levels of the run.
        always: Experts whose nulls are asked in any case.
    """

    def __init__(self, passes: Passes, sigmas: Sequence[float] | Tensor, always: Collection[int] = ()):
        self.passes = passes
        self._levels = levels_of(sigmas)
        self._always = always
        self._step = 0
        self._asks_all = True
        self._last: _FullCall | None = None
        self._before: _FullCall | None = None

    def choose(self, plan: Plan, sigma: float, like: Tensor) -> Asked:
        """What to ask in a call; `complete` takes the answers.

        Args:
            plan: What enters the result.
            sigma: Noise level, in the form of the run's.
            like: A sample of the call's shape.
        """
        self._step = step_at(self._levels, sigma)
        last, passed = self._last, 0
        if last is not None and last.asked == everything(plan) and last.cond[plan.conditions[0]].shape == like.shape:
            passed = self._step - last.step
        self._asks_all = last is None or not 0 < passed < self.passes.refresh
        return everything(plan) if self._asks_all or last is None else last.needed

    def forget(self) -> None:
        """Drop the answers so far, so that everything is asked again: they are not of the samples to come."""
        self._last = self._before = None

    def complete(
        self, plan: Plan, level: float, cond: Mapping[int, Tensor], null: Mapping[int, Tensor]
    ) -> tuple[Mapping[int, Tensor], Mapping[int, Tensor]]:
        """All predictions of a plan, given those that were asked.

        Args:
            plan: As in `choose`.
            level: Noise level in the variance-exploding form, x0 + σ·n.
            cond: Predictions under the conditions, at least of the experts that `choose` named.
            null: Predictions under the nulls, likewise.
        """
        spread = level / math.hypot(1.0, level) if math.isfinite(level) else 1.0
        last = self._last
        if self._asks_all or last is None:
            self._remember(plan, spread, {**cond}, {**null})
            return cond, null
        growth = spread / last.spread
        first = plan.conditions[0]
        whole_cond, whole_null = {**cond}, {**null}
        for i in last.asked.conditions:
            if i not in cond:
                j = plan.sharing[i]
                anchor = (null[j], last.null[j]) if j in null else (cond[first], last.cond[first])
                whole_cond[i] = anchor[0] + growth * (last.cond[i] - anchor[1])
        for j in last.asked.nulls:
            if j not in null:
                i = next((i for i in _own_conditions(plan, j) if i in cond), first)
                whole_null[j] = cond[i] + growth * (last.null[j] - last.cond[i])
        return whole_cond, whole_null

    def _remember(self, plan: Plan, spread: float, cond: Predictions, null: Predictions) -> None:
        """Keep a full call, and what it lets the next steps leave out."""
        if not self.passes.reuses or not plan.conditions or not spread > 0:
            return
        if self._last is not None and self._last.step != self._step:
            self._before = self._last
        guidance: Predictions = {}
        if self.passes.tolerance > 0:
            base = plan.unconditional(cond, null)
            base = plan.pair(cond, null)[0] if base is None else base
            guidance = {i: (cond[i] - base) / spread for i in plan.conditions}
        steady = [i for i in plan.conditions[1:] if self._is_steady(i, guidance)]
        conditions = tuple(i for i in plan.conditions if i not in steady)
        nulls = tuple(j for j in plan.distinct_nulls if self._null_is_needed(plan, j, steady, cond, null))
        asked = everything(plan)
        self._last = _FullCall(self._step, asked, cond, null, spread, guidance, Asked(conditions, nulls))

    def _is_steady(self, index: int, guidance: Predictions) -> bool:
        """Whether an expert's guidance changed little since the full step before."""
        before = self._before.guidance.get(index) if self._before is not None else None
        now = guidance.get(index)
        if before is None or now is None or before.shape != now.shape:
            return False
        change, size = (each.float().flatten(1).norm(dim=1) for each in (now - before, now))
        return bool((change < self.passes.tolerance * size).all())

    def _null_is_needed(
        self, plan: Plan, index: int, steady: Collection[int], cond: Predictions, null: Predictions
    ) -> bool:
        own = _own_conditions(plan, index)
        if index in self._always or not own:
            return True
        if all(i in steady for i in own):
            return False
        return not all(_cosine(cond[i], null[index]) > self.passes.threshold for i in own)


class RowCount:
    """Rows that networks were asked in a run, beside those of the plain product."""

    def __init__(self) -> None:
        self.asked = 0
        self.plain = 0
        self.compared = 0

    def add(self, asked: int, plain: int) -> None:
        """Count a call."""
        self.asked += asked
        self.plain += plain

    def add_compared(self, rows: int) -> None:
        """Count rows of nulls that agreement weights alone asked for."""
        self.compared += rows

    def log(self) -> None:
        """Say what was saved, and what agreement weights cost, if there was a run."""
        if self.compared:
            logger.info(
                "Agreement weights: networks were asked %d rows of nulls that the product alone would not need.",
                self.compared,
            )
        if self.plain:
            saved = self.plain - self.asked
            logger.info(
                "Fewer passes: networks were asked %d rows in place of %d; %d were saved (%.1f %%).",
                *(self.asked, self.plain, saved, 100 * saved / self.plain),
            )


def _own_conditions(plan: Plan, null: int) -> list[int]:
    """The experts whose null this is, as far as their conditions enter the plan."""
    return [i for i in plan.conditions if plan.sharing[i] == null]


def _cosine(first: Tensor, second: Tensor) -> float:
    """The cosine of two predictions; of a batch that of the picture where it is least."""
    one, other = (each.float().flatten(1) for each in (first, second))
    return torch.nn.functional.cosine_similarity(one, other).clamp(max=1.0).min().item()
