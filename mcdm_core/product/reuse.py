"""Fewer passes by reuse: within a run, earlier predictions stand in for passes that are left out."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .evaluation import Evaluation
from .method import Method
from .plan import Asked, Plan, Predictions
from .turns import step_at


@dataclass(frozen=True, eq=False)
class _FullCall:
    """A call in which everything was asked, and `needed`: what the calls that follow have to ask again."""

    step: int
    shape: torch.Size
    asked: Asked
    cond: Predictions
    null: Predictions
    level: float
    guidance: Predictions
    needed: Asked


class Reuse(Method):
    """Remembers the predictions of a run, so that later calls ask for fewer.

    In a step, either all calls ask for everything (a full step) or all calls leave passes out. (Samplers that evaluate
    twice ask the second time at the next step's level, or between the two.) Up to `refresh` − 1 steps after a full one
    leave out the predictions that it found similar or steady, see `Passes`. In place of a prediction D_k that is left
    out stands

        D_k(σ) = D_r(σ) + s(σ)/s(σ') · (D_k(σ') − D_r(σ')),  s(σ) = σ/√(1 + σ²),

    where σ' is the level of the last full call and D_r is asked in both calls, of the same expert if possible. In terms
    of v, the difference to D_r stays constant: of the ways that were tried (constant in x0, ε or v, affine in σ, by
    frequency bands) none is better throughout. The first condition of a plan, of every space, is asked in every call.
    Outside a run everything is asked.

    Args:
        threshold: See `Passes`.
        tolerance: Likewise.
        refresh: Likewise.
    """

    saves = True

    def __init__(self, threshold: float, tolerance: float, refresh: int):
        self.threshold = threshold
        self.tolerance = tolerance
        self.refresh = refresh
        self._levels: Sequence[float] = ()
        self._kept: Collection[int] = ()
        self.forget()

    def begin(self, levels: Sequence[float], kept: Collection[int] = ()) -> None:
        """See `Method`."""
        self.forget()
        self._levels, self._kept = levels, kept

    def forget(self) -> None:
        """See `Method`."""
        self._levels = ()
        self._step = 0
        self._last: _FullCall | None = None
        self._before: _FullCall | None = None
        self._standing_in: _FullCall | None = None  # in this call; None where everything is asked

    def choose(self, evaluation: Evaluation) -> Asked:
        """Leave out what earlier predictions can stand in for."""
        plan, last = evaluation.plan, self._last
        self._step = step_at(self._levels, evaluation.point.level)
        self._standing_in = None
        if last is None or last.asked != plan.everything or not 0 < self._step - last.step < self.refresh:
            return evaluation.asked
        if last.shape != evaluation.point.x.shape:
            return evaluation.asked
        self._standing_in = last
        needed, asked = last.needed, evaluation.asked
        return Asked(
            tuple(i for i in needed.conditions if i in asked.conditions),
            tuple(j for j in needed.nulls if j in asked.nulls),
        )

    def complete(self, evaluation: Evaluation) -> tuple[Predictions, Predictions]:
        """Put earlier predictions in place of those that were left out, see the class."""
        plan, cond, null, level = evaluation.plan, evaluation.cond, evaluation.null, evaluation.point.sigma
        last = self._standing_in
        if last is None:
            if evaluation.asked == plan.everything:
                self._remember(evaluation)
            return cond, null
        whole_cond, whole_null = {**cond}, {**null}
        for i in last.asked.conditions:
            if i not in cond:
                j, first = plan.null_owners[i], plan.alike(i)[0]
                anchor = (null[j], last.null[j]) if j in null else (cond[first], last.cond[first])
                whole_cond[i] = anchor[0] + _growth(plan, i, level, last.level) * (last.cond[i] - anchor[1])
        for j in last.asked.nulls:
            if j not in null:
                i = next(i for i in (*_own_conditions(plan, j), *plan.alike(j)) if i in cond)
                whole_null[j] = cond[i] + _growth(plan, j, level, last.level) * (last.null[j] - last.cond[i])
        return whole_cond, whole_null

    def _remember(self, evaluation: Evaluation) -> None:
        """Keep a full call, with the predictions that the next steps need again."""
        plan, cond, null, level = evaluation.plan, evaluation.cond, evaluation.null, evaluation.point.sigma
        if not self._levels or not plan.conditions or not level > 0:
            return
        if self._last is not None and self._last.step != self._step:
            self._before = self._last
        firsts = {i: plan.alike(i)[0] for i in plan.conditions}
        guidance: dict[int, Tensor] = {}
        if self.tolerance > 0:
            bases = {first: plan.base(first, cond, null) for first in dict.fromkeys(firsts.values())}
            guidance = {i: (cond[i] - bases[first]) / _spread(plan, i, level) for i, first in firsts.items()}
        steady = [i for i, first in firsts.items() if i != first and self._is_steady(i, guidance)]
        conditions = tuple(i for i in plan.conditions if i not in steady)
        nulls = tuple(j for j in plan.everything.nulls if self._null_is_needed(plan, j, steady, cond, null))
        asked = plan.everything
        needed, shape = Asked(conditions, nulls), evaluation.point.x.shape
        self._last = _FullCall(self._step, shape, asked, cond, null, level, guidance, needed)

    def _is_steady(self, index: int, guidance: Predictions) -> bool:
        """Whether an expert's guidance changed little since the full step before."""
        before = self._before.guidance.get(index) if self._before is not None else None
        now = guidance.get(index)
        if before is None or now is None or before.shape != now.shape:
            return False
        change, size = (each.float().flatten(1).norm(dim=1) for each in (now - before, now))
        return bool((change < self.tolerance * size).all())

    def _null_is_needed(
        self, plan: Plan, index: int, steady: Collection[int], cond: Predictions, null: Predictions
    ) -> bool:
        own = _own_conditions(plan, index)
        if index in self._kept or not own:
            return True
        if all(i in steady for i in own):
            return False
        return not all(_cosine(cond[i], null[index]) > self.threshold for i in own)


def _own_conditions(plan: Plan, null: int) -> list[int]:
    """The experts that have this null and whose conditions enter the plan."""
    return [i for i in plan.conditions if plan.null_owners[i] == null]


def _growth(plan: Plan, index: int, level: float, before: float) -> float:
    """s(σ)/s(σ') of an expert's own noise levels."""
    return _spread(plan, index, level) / _spread(plan, index, before)


def _spread(plan: Plan, index: int, level: float) -> float:
    """The spread s = σ/√(1 + σ²) at an expert's own noise level."""
    own = level * plan.level_scale(index)
    return own / math.hypot(1.0, own) if math.isfinite(own) else 1.0


def _cosine(first: Tensor, second: Tensor) -> float:
    """The cosine of two predictions; the smallest in the batch."""
    one, other = (each.float().flatten(1) for each in (first, second))
    return torch.nn.functional.cosine_similarity(one, other).clamp(max=1.0).min().item()
