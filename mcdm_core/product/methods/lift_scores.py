"""Lift scores of samples by experts: how much better each tells the noise in them if it is told its condition.

Yu & Gao, "Improving Compositional Generation with Diffusion Models Using Lift Scores" (CompLift), ICML 2025. That of a
sample x0 is its lift log p(x0 | c) − log p(x0) as the expert's own errors at noised samples x0 + σ·ε tell it, on
average over σ and ε:

    E[‖ε − ε(x, ∅)‖² − ‖ε − ε(x, c)‖²] = E[‖x0 − D_∅‖² − ‖x0 − D_c‖²]/σ²,

per value of the sample here, so that sizes compare. The noise is the one that is left in the samples of a run at its
levels, whose predictions are made anyway (the paper's cached form). That noise is not quite random: the last steps
leave hardly more than what guidance pushed, and 1/σ² makes most of it. A run's scores are therefore those of x0,
without 1/σ²: after ancestral steps they follow an expert's log p(x0 | c) − log p(x0) far closer (Gaussians:
tests/core/product/test_lift_scores.py). After deterministic steps under guidance neither does.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from ..evaluation.evaluation import Evaluation
from ..terms.term_numbers import TermNumbers
from .method import Method


class LiftScores(Method):
    """Gathers the scores of samples that need not be known yet.

    A score is affine in x0: ‖D_∅‖² − ‖D_c‖² − 2⟨x0, D_∅ − D_c⟩. So for each expert two sums over the noise levels are
    kept, and no predictions. They are float64 on the CPU, as not every accelerator has float64.

    Example:
        >>> scores = LiftScores(terms)
        >>> faces = sample_product(terms, noise, settings=[scores])  # asks no more than without
        >>> best = faces[choose(scores.of(faces), 1)]

    Args:
        terms: The experts of a product. Those of weight 0 have no score. That of an expert of negative weight, which is
            to lower the samples, changes its sign.
    """

    def __init__(self, terms: Sequence[TermNumbers]):
        self._terms = {index: term for index, term in enumerate(terms) if term.weight != 0}
        self.begin(())

    def begin(self, levels: Sequence[float], read_nulls: Collection[int] = ()) -> None:
        """Drop the sums of an earlier run; they stay until then, since `of` is asked after a run."""
        self._slopes: dict[int, Tensor] = {}
        self._constants: dict[int, Tensor] = {}
        self._covered: dict[int, Tensor] = {}
        self._levels = dict.fromkeys(self._terms, 0)

    @property
    def unasked(self) -> list[str]:
        """The labels of the experts that were asked at no level."""
        return [term.label for index, term in self._terms.items() if not self._levels[index]]

    def take(self, evaluation: Evaluation) -> None:
        """Take a call of the product: of each expert that was asked under its condition and under its own null."""
        plan, cond, null = evaluation.plan, evaluation.cond, evaluation.null
        asked = [i for i in self._terms if i in cond and plan.null_owners[i] in null]
        nulls = {j: _exact(null[j]) for j in {plan.null_owners[i] for i in asked}}  # once for all that share one
        for index in asked:
            own = nulls[plan.null_owners[index]]
            self.add(index, cond[index], own, plan.weight_map(index))

    def add(self, index: int, conditional: Tensor, unconditional: Tensor, area: Tensor | None = None) -> None:
        """Add one noise level of one expert.

        Args:
            index: The expert's.
            conditional: x0 predicted under the condition, shape (B, …).
            unconditional: x0 predicted under the null, of the same shape.
            area: How much each value counts, up to a factor, broadcasts to the sample; None counts all alike.
        """
        conditional_x0, unconditional_x0 = _exact(conditional), _exact(unconditional)
        counted: Tensor | float = 1 / conditional_x0[0].numel()
        covered = torch.ones(len(conditional_x0), dtype=torch.bool)
        if area is not None:
            whole = _exact(area).expand_as(conditional_x0).flatten(1)
            total = whole.sum(1, keepdim=True)
            covered = (total != 0).flatten()
            counted = (whole / total.where(total != 0, 1.0)).reshape(conditional_x0.shape)
        slope = counted * (unconditional_x0 - conditional_x0)
        constant = (slope * (unconditional_x0 + conditional_x0)).flatten(1).sum(1)
        self._slopes[index] = self._slopes.get(index, 0.0) + slope
        self._constants[index] = self._constants.get(index, 0.0) + constant
        self._covered[index] = covered | self._covered.get(index, False)
        self._levels[index] += 1

    def of(self, samples: Tensor) -> Tensor:
        """The scores, averaged over the levels at which each expert was asked.

        Args:
            samples: x0, shape (B, …).

        Returns:
            Shape (B, N) for the N experts whose weight is not 0, in float64 on the CPU; infinity where an expert's area
            leaves out all of a sample, so that its smallest score is another expert's, see `least_scores`.

        Raises:
            ValueError: If there is no such expert, one was asked at no level, or a score is not finite.
        """
        if not self._terms:
            raise ValueError("Expected an expert whose weight is not 0 to choose by and got none; raise a weight.")
        if self.unasked:
            raise ValueError(
                f"Expected a noise level at which {self.unasked[0]} is asked its prompt and its negative and got none; "
                "raise its reliability, widen its window, or let the weights not sum to 1."
            )
        return torch.stack([self._score(index, _exact(samples)) for index in self._terms], dim=1)

    def _score(self, index: int, samples: Tensor) -> Tensor:
        term = self._terms[index]
        sums = self._constants[index] - 2 * (samples * self._slopes[index]).flatten(1).sum(1)
        if not sums.isfinite().all():
            raise ValueError(
                f"Expected finite samples and predictions of {term.label} to choose by and got NaN or infinity; use a "
                "network of more precision."
            )
        scores = sums / self._levels[index] * (1 if term.weight > 0 else -1)
        return scores.where(self._covered[index], torch.inf)


def least_scores(scores: Tensor) -> Tensor:
    """The smallest score of each sample; −infinity for a sample that every expert's area leaves out.

    Args:
        scores: From `LiftScores.of`, shape (B, N).

    Returns:
        Shape (B,).
    """
    least = scores.amin(1)
    return least.where(least.isfinite(), -torch.inf)


def _exact(values: Tensor) -> Tensor:
    return values.detach().cpu().double()
