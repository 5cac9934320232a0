"""The nulls that a plan takes, and the refusal of a plan that lacks one."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..rules.coefficients import Coefficient, Coefficients, anywhere, total_of
from ..rules.rule import Rule
from ..term_settings import TermSettings


@dataclass(frozen=True)
class NeededNulls:
    """The experts whose null a plan takes, sorted by the reason.

    Attributes:
        read: Their null is read by something beside the rule, even if its coefficient is 0.
        counted: Their null enters the product.
        wanted: Whether the caller wants U even where the weights sum to 1.
    """

    read: tuple[int, ...]
    counted: tuple[int, ...]
    wanted: bool

    @property
    def all(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(dict.fromkeys([*self.read, *self.counted]))


def null_enters(index: int, rule: Rule, coefficients: Coefficients, owners: Sequence[int], wanted: bool) -> bool:
    """Whether an expert's null enters the result, with the coefficients of all experts that share it.

    Args:
        index: The expert's.
        rule: How predictions are combined.
        coefficients: w and a.
        owners: For each expert the first one that has the same null.
        wanted: See `NeededNulls`.
    """
    together = [i for i, owner in enumerate(owners) if owner == owners[index]]
    weight, reliability = (
        total_of([of[i] for i in together]) for of in (coefficients.weights, coefficients.reliabilities)
    )
    return rule.needs_null(weight, reliability, coefficients.total) or (wanted and anywhere(reliability != 0))


def why_needed(index: int, needed: NeededNulls, term: TermSettings, rule: Rule, total: Coefficient) -> tuple[str, str]:
    """Why an expert's null is needed, and what to do other than give it.

    Args:
        index: The expert's.
        needed: All nulls that the plan takes.
        term: The expert's settings.
        rule: How predictions are combined.
        total: W.
    """
    if index not in needed.counted:
        return "because a node that changed the guidance of its MODEL asks for it", "or remove that node"
    if needed.wanted and not rule.always_combines_nulls:
        return (
            f"because its reliability is {term.reliability:g} and the sampler or a node asks for the unconditional "
            "estimate whatever the weights sum to, as CFG++ samplers do",
            "set its reliability to 0, or choose another sampler",
        )
    return rule.why(term, total)
