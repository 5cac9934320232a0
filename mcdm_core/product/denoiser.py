"""The product of experts as a denoiser: it predicts x0 as one expert does, so samplers need not know there are many."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion.schedule import sigma_at_share
from ..expert.condition import Condition, cat
from ..expert.expert import Expert
from .agreement import PLAIN_WEIGHTS, Agreement
from .alone import Alone, AlonePlanner, Weigh
from .eq10 import EQ10
from .lifts import Lifts
from .own_null import OWN_NULL
from .passes import EVERY_PASS, Passes
from .plan import Factor, Plan
from .planner import Planner
from .reuse import Asked, Reuse, RowCount, everything
from .rule import Rule
from .term import Term
from .windows import levels_of

Predicted = tuple[Tensor, Tensor | None]
"""x0 and the learned variance, if the network has one."""
Predictions = Mapping[int, Tensor]
"""x0 by the index of the expert that was asked."""


@dataclass(frozen=True)
class Pass:
    """One network evaluation to be made."""

    expert: Expert
    condition: Condition


class ProductDenoiser:
    """Combines terms by Eq. 10 at one noise level (paper, §7.2), evaluating nothing that does not enter the result.

    Conditions whose weight is 0 are not evaluated, nulls only where the weights don't sum to 1, and equal nulls of one
    network once. Passes that share a network run as one batch. Predictions of x0 are combined, and clamped to [−1, 1]
    afterwards if the experts work on pixels.

    The first term's expert is the reference: windows are resolved on its schedule, and the learned variance, if any, is
    its own.

    Example:
        >>> terms = [Term(hair, hair_map, hair_map.null()), Term(skin, skin_map, skin_map.null())]
        >>> denoiser = ProductDenoiser(terms)
        >>> x0 = denoiser(x0_plus_noise, sigma)

    Args:
        terms: At least one, for samples of the same channels.
        max_rows: Largest batch given to a network, to save memory; None is no limit.
        rule: How predictions are combined: `EQ10`, or `OWN_NULL` for composable diffusion.
        passes: What may be left out; predictions stand in for passes only within `running`.
        agreement: How the positive weights are shared out, place by place.
        lifts: Gathers from every call how far the experts lift the samples; made of the same terms.

    Raises:
        ValueError: If there is no term, or the experts' samples differ.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        max_rows: int | None = None,
        rule: Rule = EQ10,
        passes: Passes = EVERY_PASS,
        agreement: Agreement = PLAIN_WEIGHTS,
        lifts: Lifts | None = None,
    ):
        if not terms:
            raise ValueError("Expected at least one term and got none; add an expert.")
        self.terms = tuple(terms)
        self.reference = self.terms[0].expert
        self.max_rows = max_rows
        self.rule = rule
        for term in self.terms:
            _check_same_samples(self.reference, term.expert)
        self.passes = passes
        self.agreement = agreement
        self.lifts = lifts
        self.windows = [term.window(self._level) for term in self.terms]
        self._sharing = [_first_with_same_null(self.terms, index) for index in range(len(self.terms))]
        self._planners: dict[tuple, Planner] = {}
        self._alone: dict[Planner, AlonePlanner] = {}
        self._reuse: Reuse | None = None
        self._rows = RowCount()
        self._levels: list[float] = []

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Predict x0.

        Args:
            x: x0 + σ·n, shape (B, C, H, W).
            sigma: Noise level above 0, one number or equal entries (B,).

        Returns:
            Combined prediction, shape of x.

        Raises:
            ValueError: If no term is active at σ, or the active ones cannot be combined.
        """
        return self.with_variance(x, sigma)[0]

    def with_variance(self, x: Tensor, sigma: Tensor | float) -> Predicted:
        """As a call, together with the learned variance of the reference expert.

        Returns:
            x0, and v in −1…1 of the same shape; None if that expert has none or is not evaluated at this level.
        """
        plan, cond, null, own = self._predict(x, sigma, self._planner(x))
        return self._combined(plan, cond, null), own

    def with_factors(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, list[Factor]]:
        """As a call, together with what the prediction is made of.

        Returns:
            x0, and the factors: their sum Σ c_k D_k is x0, before it is clamped.

        Raises:
            ValueError: As a call; or if the weights depend on the sample, see `Agreement.check_fixed`.
        """
        self.agreement.check_fixed()
        plan, cond, null, _ = self._predict(x, sigma, self._planner(x))
        return self._combined(plan, cond, null), plan.factors(cond, null)

    def with_terms(self, x: Tensor, sigma: Tensor | float, weigh: Weigh) -> tuple[Tensor, Mapping[int, Tensor]]:
        """Predict x0 as something else than the product of the terms, and what each predicts alone.

        Args:
            x: As for a call.
            sigma: Likewise.
            weigh: Says what each term that acts counts.

        Returns:
            x0 = Σ ω_i D_i, clamped as the product is, and D_i by the index of the term, see `Alone.terms`.

        Raises:
            ValueError: If no term of positive weight is active at σ, a null is missing, or weights depend on the
                sample, see `Agreement.check_fixed`.
        """
        self.agreement.check_fixed()
        plan, cond, null, _ = self._predict(x, sigma, self._alone_planner(x))
        assert isinstance(plan, Alone)
        weighed = plan.weighed(weigh, cond, null)
        return self._combined(weighed, cond, null), weighed.predicted

    def resample(self, ancestors: Tensor) -> None:
        """Let samples of the batch go on as others: no prediction of earlier calls stands in for a pass of theirs.

        Args:
            ancestors: Which sample each is from now on, shape (B,).
        """
        if self._reuse is not None:
            self._reuse.forget()
        if self.lifts is not None:
            self.lifts.resample(ancestors)

    def check_run(self, x: Tensor, sigmas: Sequence[float] | Tensor) -> None:
        """Refuse a run that could not finish, before any network is called.

        Args:
            x: A sample of the run's shape.
            sigmas: Noise levels of the run; samplers may ask for levels between them.

        Raises:
            ValueError: If at some level of the run no term is active, or the active ones cannot be combined.
        """
        self._planner(x).check_run(sigmas)

    @contextmanager
    def running(self, sigmas: Sequence[float] | Tensor) -> Iterator[None]:
        """A run, within which predictions may stand in for passes and experts take turns, all forgotten at its end.

        Args:
            sigmas: Noise levels of the run, as in `check_run`.
        """
        if self.passes.saves:
            lent = [0] if self.terms[0].weight == 0 else []  # the reference is asked for the learned variance
            self._reuse, self._rows = Reuse(self.passes, sigmas, always=lent), RowCount()
        self._levels = levels_of(sigmas)
        self._alone.clear()
        try:
            yield
            self._rows.log()
        finally:
            self._reuse, self._rows, self._levels = None, RowCount(), []
            self._alone.clear()

    def _level(self, share: float) -> float:
        """Noise level of the reference expert at a share of the sampling."""
        return sigma_at_share(self.reference.schedule, share)

    def _predict(
        self, x: Tensor, sigma: Tensor | float, planner: Planner
    ) -> tuple[Plan, Predictions, Predictions, Tensor | None]:
        """The plan at a noise level, all predictions that it takes, and the reference's learned variance."""
        level = _single_level(sigma)
        plan = planner.plan_at(level)
        asked = everything(plan) if self._reuse is None else self._reuse.choose(plan, level, x)
        passes = self._passes(asked)
        predictions = self._evaluate(passes, x, sigma)
        x0 = [prediction for prediction, _ in predictions]
        first_null = len(asked.conditions)
        cond: Predictions = dict(zip(asked.conditions, x0[:first_null], strict=True))
        null: Predictions = dict(zip(asked.nulls, x0[first_null:], strict=True))
        self._rows.add_compared(len(x) * len({*asked.nulls} & {*plan.compared}))
        if self.lifts is not None:  # before predictions stand in for others
            self.lifts.take(plan, level, cond, null)
        if self._reuse is not None:
            self._rows.add(len(x) * asked.passes, len(x) * everything(planner.plain_at(level)).passes)
            cond, null = self._reuse.complete(plan, level, cond, null)
        own = [v for request, (_, v) in zip(passes, predictions, strict=True) if request.expert is self.reference]
        return plan.agreed(x, 1.0, cond, null), cond, null, next(iter(own), None)

    def _combined(self, plan: Plan, cond: Predictions, null: Predictions) -> Tensor:
        denoised, _ = plan.pair(cond, null)
        return denoised.clamp(-1, 1) if self.reference.clamp_x0 else denoised

    def _planner(self, x: Tensor) -> Planner:
        """Plans for samples of the shape of x, whose masks they hold."""
        key = (x.shape, x.device, x.dtype)
        if key not in self._planners:
            planner = Planner(
                self.terms,
                self.rule,
                level=self._level,
                masks=[term.mask_like(x) for term in self.terms],
                have_null=[term.null is not None for term in self.terms],
                passes=self.passes,
                agreement=self.agreement,
                warn=not self._planners,
            )
            planner.share_nulls(self._sharing)
            self._planners[key] = planner
        self._planners[key].set_run(self._levels)
        return self._planners[key]

    def _alone_planner(self, x: Tensor) -> AlonePlanner:
        planner = self._planner(x)
        if planner not in self._alone:
            alone = self._alone[planner] = AlonePlanner(planner)
            alone.set_run(self._levels)
            if self._levels:
                alone.check_run(self._levels)
        return self._alone[planner]

    def _passes(self, asked: Asked) -> list[Pass]:
        """The network evaluations to be made: conditions, then nulls."""
        pairs = [(self.terms[i].expert, self.terms[i].condition) for i in asked.conditions]
        pairs += [(self.terms[j].expert, self.terms[j].null) for j in asked.nulls]
        # Whoever counts has the condition or the null that it is asked under: terms and plans refuse others.
        return [Pass(expert, condition) for expert, condition in pairs if condition is not None]

    def _evaluate(self, passes: list[Pass], x: Tensor, sigma: Tensor | float) -> list[Predicted]:
        """Predictions of all passes, one batch for those that can share it."""
        groups: dict[tuple, list[int]] = {}
        for i, request in enumerate(passes):
            groups.setdefault((request.expert.key, request.condition.signature), []).append(i)
        results: dict[int, Predicted] = {}
        for indices in groups.values():
            size = max(1, self.max_rows // len(x)) if self.max_rows else len(indices)
            for first in range(0, len(indices), size):
                batch = indices[first : first + size]
                condition = cat([passes[i].condition.to(x.device, x.dtype).expand(len(x)) for i in batch])
                level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).flatten()[0]
                x0, v = passes[batch[0]].expert.predict(x.repeat(len(batch), 1, 1, 1), level, condition)
                variances = v.split(len(x)) if v is not None else [None] * len(batch)
                results |= dict(zip(batch, zip(x0.split(len(x)), variances, strict=True), strict=True))
        return [results[i] for i in range(len(passes))]


class OwnNullDenoiser(ProductDenoiser):
    """As `ProductDenoiser`, but each condition is measured against its own expert's null, see `own_null_epsilon`."""

    def __init__(
        self,
        terms: Sequence[Term],
        max_rows: int | None = None,
        passes: Passes = EVERY_PASS,
        agreement: Agreement = PLAIN_WEIGHTS,
        lifts: Lifts | None = None,
    ):
        super().__init__(terms, max_rows, OWN_NULL, passes, agreement, lifts)


def _first_with_same_null(terms: Sequence[Term], index: int) -> int:
    """Index of the first term whose network is asked the same null as the term of this index."""
    null = terms[index].null
    for first, other in enumerate(terms[:index]):
        same_network = other.expert.key == terms[index].expert.key
        if null is not None and other.null is not None and same_network and other.null.same_as(null):
            return first
    return index


def _check_same_samples(reference: Expert, expert: Expert) -> None:
    if (reference.channels, reference.clamp_x0) != (expert.channels, expert.clamp_x0):
        kinds = [
            f"{e.name} ({e.channels} channels of {'pixels' if e.clamp_x0 else 'latents'})" for e in (reference, expert)
        ]
        raise ValueError(f"Expected experts for the same samples and got {' and '.join(kinds)}; combine one kind.")


def _single_level(sigma: Tensor | float) -> float:
    if not isinstance(sigma, Tensor):
        return float(sigma)  # exact, so that a window's edge holds the very level it was computed from
    levels = sigma.flatten()
    if not (levels == levels[0]).all():
        raise ValueError(f"Expected one noise level for the whole batch and got {levels.tolist()}; denoise them apart.")
    return levels[0].item()
