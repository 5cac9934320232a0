"""A setting is what a user chooses; a method takes part in a product by stages, one for each thing that it may change.

Before a network is called, every method tells the planner which experts act, and with which weights. Then each
evaluation goes through the stages `choose`, `take`, `complete`, `weigh` and `note`, in each through all methods in
the order that `methods_of` gives them.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..evaluation.evaluation import Evaluation
from ..evaluation.plan import Asked, Plan, Predictions
from ..rules.coefficients import Coefficient
from ..terms.span import SigmaAt, Span
from ..terms.term_numbers import TermNumbers


@dataclass(frozen=True)
class Draft:
    """The weights of a plan that is being made; each method is given what those before it have made of them.

    Attributes:
        terms: The numbers of all experts.
        masks: Each expert's mask, values 0…1; None is everywhere.
        given: w_i of the experts that act, by their index, before masks and methods; these leave them as they are.
        weights: w_i of all experts, scaled by the masks; 0 for those that don't act.
        guided: False outside a guidance interval, where the weights sum to 1 and nulls cancel under either rule.
    """

    terms: Sequence[TermNumbers]
    masks: Sequence[Tensor | None]
    given: Mapping[int, float]
    weights: Sequence[Coefficient]
    guided: bool = True


class Method:
    """What takes part in one product. These stages change nothing; a method overrides those that it needs.

    Noise levels that stages are given as numbers are the run's, in the form of the reference's samples: of a flow in
    ComfyUI 0…1. `evaluation.point.sigma` is that of the same sample in the variance-exploding form; the two must not
    be compared.

    Attributes:
        saves: Whether it leaves passes out, so that rows are counted and compared with those of the product without it.
        neutral: If it saves passes, the phase in which it changes no plan.
    """

    saves = False
    neutral: Hashable = None

    def begin(self, levels: Sequence[float], read_nulls: Collection[int] = ()) -> None:
        """Prepare for a run, before its first evaluation.

        Args:
            levels: The run's noise levels.
            read_nulls: Experts whose null something beside the product reads, so that nothing may stand in for it.
        """

    def end(self) -> None:
        """Log what there is to say of a run that has ended well."""

    def forget(self) -> None:
        """Keep nothing of a run that is over, whether or not it ended well."""

    def check_separate(self) -> None:
        """Refuse samplers that weigh the separate predictions of experts against each other.

        Raises:
            ValueError: If the method leaves no two experts to be weighed.
        """

    def edges(self) -> Sequence[float]:
        """Noise levels at which its phase changes."""
        return ()

    def phase(self, sigma: float) -> Hashable:
        """A key of what it does at a noise level; levels of one phase share their plans."""
        return None

    def phases(self) -> Sequence[Hashable]:
        """All phases that it may have, for checks that know no noise level: each is judged."""
        return (None,)

    def sets(self, active: tuple[int, ...], terms: Sequence[TermNumbers]) -> list[tuple[int, ...]]:
        """The sets of experts that act one after another; who is in none doesn't act, of whatever weight.

        Args:
            active: Indices of the experts in whose window the noise level is, ascending.
            terms: The numbers of all experts.
        """
        return [active]

    def turn(self, sigma: float) -> int | None:
        """Number of the set that acts at a noise level, modulo the number of sets; None if all active experts act."""
        return None

    def draft(self, draft: Draft, phase: Hashable) -> Draft:
        """Change the weights of a plan; it holds throughout the phase. Unguided weights have to keep their sum, 1."""
        return draft

    def choose(self, evaluation: Evaluation) -> Asked:
        """Choose the predictions to ask for, from those that methods before it left to be asked."""
        return evaluation.asked

    def take(self, evaluation: Evaluation) -> None:
        """Look at the networks' answers, before anything stands in for passes that were left out."""

    def complete(self, evaluation: Evaluation) -> Predictions:
        """All predictions of the plan under the nulls: the answers, and what stands in for those that were left out."""
        return evaluation.null

    def weigh(self, evaluation: Evaluation) -> Plan:
        """The plan with weights that depend on the predictions."""
        return evaluation.plan

    def note(self, evaluation: Evaluation) -> None:
        """Look at the finished evaluation."""


class Methods(tuple[Method, ...]):
    """The methods of one product, in their order."""

    def begin(self, levels: Sequence[float], read_nulls: Collection[int] = ()) -> None:
        """Prepare each for a run, see `Method.begin`."""
        for method in self:
            method.begin(levels, read_nulls)

    def end(self) -> None:
        """Log what each has to say of a run that has ended well; the last one first."""
        for method in reversed(self):
            method.end()

    def forget(self) -> None:
        """Have each forget a run that is over."""
        for method in self:
            method.forget()

    def check_separate(self) -> None:
        """Refuse samplers that weigh separate predictions, if one of them does, see `Method.check_separate`."""
        for method in self:
            method.check_separate()


@dataclass(frozen=True, kw_only=True)
class Setting(Span):
    """What a user chooses beyond the paper, for a whole product and the same in every run.

    Noise levels belong into its span: where a prompt is queued no others are known, and what a setting changes is taken
    to be changed in the whole of it.

    A subclass overrides `label`, by which messages call its span, and `what` if "remove it" doesn't say what to do.

    Attributes:
        name: Without spaces; its node's id ends in it.
    """

    name: ClassVar[str]

    def methods(self, sigma_at: SigmaAt | None = None) -> list[Method]:
        """The methods that it switches on in one product; none where it changes nothing.

        Args:
            sigma_at: Noise level of the reference expert at a progress of the sampling, 0…1; None where none is known.

        Raises:
            ValueError: If the span is empty, see `Span.window`.
        """
        return []
