"""The networks of terms, asked in batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..expert.condition import Condition, cat
from ..expert.expert import Expert
from .plan import Asked, Plan, Predictions
from .term import Term

Predicted = tuple[Tensor, Tensor | None]
"""x0 and the learned variance, if the network has one."""
ExpertPoint = tuple[Tensor, Tensor | float]
"""x = x0 + σ·n, shape (B, C, H, W), and σ."""


@dataclass(frozen=True)
class Pass:
    """One pass through an expert's network, about x = x0 + σ·n."""

    expert: Expert
    condition: Condition
    x: Tensor
    sigma: Tensor | float


class TermNetworks:
    """The networks of the terms, each asked about one sample at one noise level.

    Args:
        terms: The terms.
        points: For each term the sample, x0 + σ·n, shape (B, C, H, W), and σ.

    Attributes:
        variance: The learned variance of the first term's expert, if it has one and has been asked.
    """

    def __init__(self, terms: Sequence[Term], points: Sequence[ExpertPoint]):
        self.terms = terms
        self.points = points
        self.variance: Tensor | None = None

    def ask(self, plan: Plan, asked: Asked) -> tuple[Predictions, Predictions]:
        """The answers at the points, see `Networks.ask`."""
        passes = self._passes(asked)
        predictions = self._predict(passes)
        x0 = [prediction for prediction, _ in predictions]
        reference = self.terms[0].expert
        own = (v for made, (_, v) in zip(passes, predictions, strict=True) if made.expert is reference)
        self.variance = next(own, None)
        first_null = len(asked.conditions)
        conditions = zip(asked.conditions, x0[:first_null], strict=True)
        return dict(conditions), dict(zip(asked.nulls, x0[first_null:], strict=True))

    def rows(self, plan: Plan, asked: Asked) -> int:
        """Rows that networks are given for that, see `Networks.rows`."""
        return len(self.points[0][0]) * (len(asked.conditions) + len(asked.nulls))

    def _passes(self, asked: Asked) -> list[Pass]:
        """The passes to make: under conditions, then under nulls; a plan asks only for what its terms have."""
        wanted = [(i, self.terms[i].condition) for i in asked.conditions]
        wanted += [(j, self.terms[j].null) for j in asked.nulls]
        return [
            Pass(self.terms[i].expert, condition, *self.points[i]) for i, condition in wanted if condition is not None
        ]

    def _predict(self, passes: list[Pass]) -> list[Predicted]:
        """The predictions of all passes; those that can share a batch do."""
        groups: dict[tuple, list[int]] = {}
        for i, request in enumerate(passes):
            key = request.expert.key, request.condition.signature, request.x.shape
            groups.setdefault(key, []).append(i)
        results: dict[int, Predicted] = {}
        for indices in groups.values():
            first_pass = passes[indices[0]]
            x = first_pass.x
            condition = cat([passes[i].condition.to(x.device, x.dtype).expand(len(x)) for i in indices])
            level = torch.as_tensor(first_pass.sigma, dtype=x.dtype, device=x.device).flatten()[0]
            x0, v = first_pass.expert.predict(x.repeat(len(indices), 1, 1, 1), level, condition)
            variances = v.split(len(x)) if v is not None else [None] * len(indices)
            results |= dict(zip(indices, zip(x0.split(len(x)), variances, strict=True), strict=True))
        return [results[i] for i in range(len(passes))]
