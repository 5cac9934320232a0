"""The nulls that a plan takes, and why a plan that lacks one is refused."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..rules.coefficients import Coefficient, Coefficients, anywhere, total_of
from ..rules.rule import Rule
from ..term_numbers import TermNumbers


@dataclass(frozen=True)
class Remedies:
    """What a refusal says of a missing null where the caller alone knows who wants it, and how it is given.

    Attributes:
        give: What to do about it.
        read: Why something beside the rule reads a null, and what to do other than give it.
        wanted: Who wants U whatever the weights sum to, and what to do other than give the null.
    """

    give: str = "Give its null"
    read: tuple[str, str] = ("because something beside the product reads it", "or let nothing else read it")
    wanted: tuple[str, str] = ("U is asked for whatever the weights sum to", "don't ask for U")


def null_enters(rule: Rule, coefficients: Coefficients, owners: Sequence[int], wanted: bool, index: int) -> bool:
    """Whether an expert's null enters the result, with the coefficients of all experts that share it.

    Args:
        rule: How predictions are combined.
        coefficients: w and a.
        owners: For each expert the first one that has the same null.
        wanted: Whether the caller wants U even where the weights sum to 1.
        index: The expert's.
    """
    together = [i for i, owner in enumerate(owners) if owner == owners[index]]
    weight, reliability = (
        total_of([of[i] for i in together]) for of in (coefficients.weights, coefficients.reliabilities)
    )
    return rule.needs_null(weight, reliability, coefficients.total) or (wanted and anywhere(reliability != 0))


def why_counted(term: TermNumbers, rule: Rule, total: Coefficient, wanted: bool, remedies: Remedies) -> tuple[str, str]:
    """Why an expert's null enters the result, and what to do other than give it.

    Args:
        term: The expert's numbers.
        rule: How predictions are combined.
        total: W.
        wanted: Whether the caller wants U even where the weights sum to 1.
        remedies: The caller's part of the sentence.
    """
    if not wanted or rule.always_combines_nulls:
        return rule.why(term, total)
    reason, remedy = remedies.wanted
    return (
        f"because its reliability is {term.reliability:g} and {reason}",
        f"set its reliability to 0, or {remedy}",
    )
