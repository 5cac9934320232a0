"""The networks of terms, asked in batches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...expert.condition import cat
from ..evaluation.plan import Asked, Plan, Predictions
from ..terms.term import Term

Predicted = tuple[Tensor, Tensor | None]
"""x0 and the learned variance, if the network has one."""
ExpertPoint = tuple[Tensor, Tensor | float]
"""x = x0 + σ·n, shape (B, C, H, W), and σ."""


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
        """The answers at the points, see `Networks.ask`; questions that can share a batch do."""
        wanted = [(i, self.terms[i].condition) for i in asked.conditions]
        wanted += [(j, self.terms[j].null) for j in asked.nulls]
        questions = [(i, given) for i, given in wanted if given is not None]  # a plan asks only for what its terms have
        groups: dict[tuple, list[int]] = {}
        for number, (i, condition) in enumerate(questions):
            key = self.terms[i].expert.key, condition.signature, self.points[i][0].shape
            groups.setdefault(key, []).append(number)
        made: dict[int, Predicted] = {}
        for numbers in groups.values():
            first = questions[numbers[0]][0]
            x, sigma = self.points[first]
            condition = cat([questions[n][1].to(x.device, x.dtype).expand(len(x)) for n in numbers])
            level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).flatten()[0]
            x0, v = self.terms[first].expert.predict(x.repeat(len(numbers), 1, 1, 1), level, condition)
            variances = v.split(len(x)) if v is not None else [None] * len(numbers)
            made |= dict(zip(numbers, zip(x0.split(len(x)), variances, strict=True), strict=True))
        reference = self.terms[0].expert
        own = (made[n][1] for n, (i, _) in enumerate(questions) if self.terms[i].expert is reference)
        self.variance = next(own, None)
        predictions = [made[n][0] for n in range(len(questions))]
        first_null = len(asked.conditions)
        conditions = zip(asked.conditions, predictions[:first_null], strict=True)
        return dict(conditions), dict(zip(asked.nulls, predictions[first_null:], strict=True))

    def rows(self, plan: Plan, asked: Asked) -> int:
        """Rows that networks are given for that, see `Networks.rows`."""
        return len(self.points[0][0]) * (len(asked.conditions) + len(asked.nulls))
