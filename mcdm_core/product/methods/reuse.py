"""Fewer passes by reuse: within a run, earlier predictions stand in for passes that are left out."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..evaluation.evaluation import Evaluation
from ..evaluation.plan import Asked, Plan, Predictions
from .method import Method
from .turns import step_at


@dataclass(frozen=True, eq=False)
class _FullCall:
    """A call in which everything was asked, and `needed`: the nulls that the calls that follow have to ask again."""

    step: int
    shape: torch.Size
    asked: Asked
    cond: Predictions
    null: Predictions
    sigma: float
    needed: tuple[int, ...]


class Reuse(Method):
    """Remembers the predictions of a run, so that later calls ask for fewer.

    In a step, either all calls ask for everything (a full step) or all calls leave passes out. (Samplers that evaluate
    twice in a step do so at the next step's level, or between the two.) Up to `refresh` − 1 steps after a full one
    leave out the nulls that were similar in it, see `Passes`. In place of a null's D_∅ that is left out stands

        D_∅(σ) = D_i(σ) + s(σ)/s(σ') · (D_∅(σ') − D_i(σ')),  s(σ) = σ/√(1 + σ²),

    where σ' is the level of the last full call and D_i is the prediction under a condition of the same expert. In terms
    of v, the difference to D_i stays constant: of the ways that were tried (constant in x0, ε or v, affine in σ, by
    frequency bands) none is better throughout. Conditions are asked in every call. Outside a run everything is asked.

    Args:
        threshold: See `Passes`.
        refresh: Likewise.
    """

    saves = True

    def __init__(self, threshold: float, refresh: int):
        self.threshold = threshold
        self.refresh = refresh
        self._levels: Sequence[float] = ()
        self._read_nulls: Collection[int] = ()
        self.forget()

    def begin(self, levels: Sequence[float], read_nulls: Collection[int] = ()) -> None:
        """Take the run's levels, and the experts whose null is asked in every call."""
        self.forget()
        self._levels, self._read_nulls = levels, read_nulls

    def forget(self) -> None:
        """Drop the predictions of the run."""
        self._levels = ()
        self._step = 0
        self._last: _FullCall | None = None
        self._standing_in: _FullCall | None = None  # in this call; None where everything is asked

    def choose(self, evaluation: Evaluation) -> Asked:
        """Leave out what earlier predictions can stand in for."""
        plan, last = evaluation.plan, self._last
        self._step = step_at(self._levels, evaluation.point.level.number)
        self._standing_in = None
        if last is None or last.asked != plan.everything or not 0 < self._step - last.step < self.refresh:
            return evaluation.asked
        if last.shape != evaluation.point.x.shape:
            return evaluation.asked
        self._standing_in = last
        asked = evaluation.asked
        return Asked(asked.conditions, tuple(j for j in last.needed if j in asked.nulls))

    def complete(self, evaluation: Evaluation) -> Predictions:
        """Put earlier predictions in place of those that were left out, see the class."""
        plan, cond, null, sigma = evaluation.plan, evaluation.cond, evaluation.null, evaluation.point.sigma
        last = self._standing_in
        if last is None:
            if evaluation.asked == plan.everything:
                self._remember(evaluation)
            return null
        whole = {**null}
        for j in last.asked.nulls:
            if j not in null:
                i = _own_conditions(plan, j)[0]
                growth = _spread(plan, j, sigma) / _spread(plan, j, last.sigma)
                whole[j] = cond[i] + growth * (last.null[j] - last.cond[i])
        return whole

    def _remember(self, evaluation: Evaluation) -> None:
        """Keep a full call, with the nulls that the next steps need again."""
        plan, cond, null, sigma = evaluation.plan, evaluation.cond, evaluation.null, evaluation.point.sigma
        if not self._levels or not plan.conditions or not sigma > 0:
            return
        needed = tuple(j for j in plan.everything.nulls if self._null_is_needed(plan, j, cond, null))
        shape = evaluation.point.x.shape
        self._last = _FullCall(self._step, shape, plan.everything, cond, null, sigma, needed)

    def _null_is_needed(self, plan: Plan, index: int, cond: Predictions, null: Predictions) -> bool:
        own = _own_conditions(plan, index)
        if index in self._read_nulls or not own:
            return True
        return not all(_cosine(cond[i], null[index]) > self.threshold for i in own)


def _own_conditions(plan: Plan, null: int) -> list[int]:
    """The experts that have this null and whose conditions enter the plan."""
    return [i for i in plan.conditions if plan.null_owners[i] == null]


def _spread(plan: Plan, index: int, sigma: float) -> float:
    """The spread s = σ/√(1 + σ²) at an expert's own noise level."""
    own = sigma * plan.kappa_of(index)
    return own / math.hypot(1.0, own) if math.isfinite(own) else 1.0


def _cosine(first: Tensor, second: Tensor) -> float:
    """The cosine of two predictions; the smallest in the batch."""
    one, other = (each.float().flatten(1) for each in (first, second))
    return torch.nn.functional.cosine_similarity(one, other).clamp(max=1.0).min().item()
