"""What a method beyond the paper is to a product: stages in which it may change something, or note it.

Before a network is called, the planner asks every method who acts and what that takes; then each evaluation passes
through `choose`, `take`, `complete`, `weigh` and `note`, and in each stage through the methods in their order.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .coefficients import Coefficient
from .evaluation import Evaluation
from .plan import Asked, Plan, Predictions
from .span import Level, Span
from .term_settings import TermSettings
from .windows import ALWAYS, is_within


@dataclass(frozen=True)
class Draft:
    """The weights of a plan that is being made.

    Attributes:
        terms: All experts'.
        masks: Each expert's mask, values 0…1; None is everywhere.
        numbers: w_i of the experts that act, as set and before masks, by their index; no method changes them.
        weights: w_i of all experts, scaled by the masks; 0 for those that don't act.
        guided: Whether the product is guided; where it isn't, the weights sum to 1 and the nulls of both rules cancel.
    """

    terms: Sequence[TermSettings]
    masks: Sequence[Tensor | None]
    numbers: Mapping[int, float]
    weights: Sequence[Coefficient]
    guided: bool = True


class Method:
    """One method in one product. What is here changes nothing; a method overrides the stages that it needs.

    Attributes:
        saves: Whether it leaves passes out, so that rows are counted beside those of the product without it.
        neutral: The phase in which it changes no plan.
        why_compared: Why `compared` experts need the unconditional estimate, and what else would help than a null; both
            are parts of a refusal.
    """

    saves = False
    neutral: Hashable = None
    why_compared = ("", "")

    def begin(self, levels: Sequence[float], kept: Collection[int] = ()) -> None:
        """A run begins, before its first evaluation.

        Args:
            levels: Its noise levels.
            kept: Experts whose null is read by more than the product, so that nothing may stand in for it.
        """

    def end(self) -> None:
        """The run has ended well: log what is to be said of it."""

    def forget(self) -> None:
        """The run is over, whatever became of it: keep nothing of it."""

    def resample(self, ancestors: Tensor) -> None:
        """Let samples of the batch go on as others.

        Args:
            ancestors: Which sample each is from now on, shape (B,).
        """

    def check_fixed(self) -> None:
        """Refuse to weigh samples by what their factors count.

        Raises:
            ValueError: If the method lets the weights depend on the sample.
        """

    def check_parts(self, count: int) -> None:
        """Refuse samples made of several parts, such as a video and its sound, where that can't be.

        Args:
            count: How many.

        Raises:
            ValueError: If it can't.
        """

    def edges(self) -> Sequence[float]:
        """Noise levels at which its phase changes."""
        return ()

    def phase(self, sigma: float) -> Hashable:
        """What it makes of a noise level; plans of one phase are one."""
        return None

    def phases(self) -> Sequence[Hashable]:
        """All phases that there may be, where no noise level is known."""
        return (None,)

    def sets(self, active: tuple[int, ...], terms: Sequence[TermSettings]) -> list[tuple[int, ...]]:
        """The sets of experts that act one after another where some are active.

        Args:
            active: Indices of the experts whose window it is, ascending.
            terms: All experts'.
        """
        return [active]

    def turn(self, sigma: float) -> int | None:
        """Which of the sets acts at a noise level, counted on without end; None where all active experts do."""
        return None

    def draft(self, draft: Draft, phase: Hashable) -> Draft:
        """Change the weights of a plan, all of one phase."""
        return draft

    def compared(self, draft: Draft, phase: Hashable) -> tuple[int, ...]:
        """The experts whose predictions it compares with U, which the plan then has."""
        return ()

    def choose(self, evaluation: Evaluation) -> Asked:
        """Who is asked: of what is to be asked so far, what it doesn't leave out."""
        return evaluation.asked

    def take(self, evaluation: Evaluation) -> None:
        """Take the answers, before anything stands in for what wasn't asked."""

    def complete(self, evaluation: Evaluation) -> tuple[Predictions, Predictions]:
        """What stands in: all predictions under the conditions and under the nulls, given the answers."""
        return evaluation.cond, evaluation.null

    def weigh(self, evaluation: Evaluation) -> Plan:
        """What each expert counts: the plan, with weights that the predictions decide."""
        return evaluation.plan

    def note(self, evaluation: Evaluation) -> None:
        """Note what the product is made of."""

    def maps(self, plan: Plan) -> Mapping[int, Tensor]:
        """What to show of a weighed plan: maps of values 0…1 by the index of the expert, shape (B, 1, …)."""
        return {}


class SpanMethod(Method):
    """A method that has two phases: within a span of the run, and outside.

    Args:
        span: The span.
        level: Noise level of the reference expert at a progress of the sampling, 0…1; None where none is known.

    Raises:
        ValueError: If the span is empty, see `Span.window`.
    """

    def __init__(self, span: Span, level: Level | None):
        self._window = ALWAYS if level is None else span.window(level)

    def edges(self) -> Sequence[float]:
        """Where the span begins and ends."""
        return self._window

    def phase(self, sigma: float) -> Hashable:
        """Whether it is within the span."""
        return is_within(self._window, sigma)

    def phases(self) -> Sequence[Hashable]:
        """Within, and outside."""
        return True, False


class Methods(tuple[Method, ...]):
    """The methods of one product, in their order."""

    def begin(self, levels: Sequence[float], kept: Collection[int] = ()) -> None:
        """See `Method.begin`."""
        for method in self:
            method.begin(levels, kept)

    def end(self) -> None:
        """See `Method.end`; the last one first."""
        for method in reversed(self):
            method.end()

    def forget(self) -> None:
        """See `Method.forget`."""
        for method in self:
            method.forget()

    def resample(self, ancestors: Tensor) -> None:
        """See `Method.resample`."""
        for method in self:
            method.resample(ancestors)

    def check_fixed(self) -> None:
        """See `Method.check_fixed`."""
        for method in self:
            method.check_fixed()


@dataclass(frozen=True)
class Option:
    """An option of the command line that sets something of a method.

    Attributes:
        flag: "--tau", say.
        fields: Names of the setting's fields that it gives, as many as it has values.
        default: Their values without it.
        help: For the user; ends with the default in brackets.
        metavar: What help calls the values.
    """

    flag: str
    fields: tuple[str, ...]
    default: tuple[float, ...]
    help: str
    metavar: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Setting(Span):
    """What a user sets of a method. It belongs to a whole product and is the same for every run.

    Attributes:
        name: Of the method, without spaces.
        relaxes: Whether products that can't be combined without it may be with it.
        about: The heading of its options, and a sentence.
        options: Those of the command line.
    """

    name: ClassVar[str]
    relaxes: ClassVar[bool] = False
    about: ClassVar[tuple[str, str]]
    options: ClassVar[tuple[Option, ...]]

    def methods(self, level: Level | None = None) -> list[Method]:
        """The methods that it asks for in one product; none where it changes nothing.

        Args:
            level: Noise level of the reference expert at a progress of the sampling, 0…1; None where none is known.

        Raises:
            ValueError: If the span is empty, see `Span.window`.
        """
        return []
