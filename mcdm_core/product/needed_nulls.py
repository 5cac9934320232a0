"""Which nulls a plan takes, and what is said of one that is missing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .coefficients import Coefficient, Coefficients, anywhere, total_of
from .rule import Rule
from .term_settings import TermSettings


@dataclass(frozen=True)
class NeededNulls:
    """The experts whose null a plan takes, by why it does.

    Attributes:
        read: Something beside the rule reads it, whatever it counts.
        counted: It enters the product.
        compared: A method compares predictions with U, or with this null.
        wanted: Whether U was asked for whatever the weights sum to.
    """

    read: tuple[int, ...]
    counted: tuple[int, ...]
    compared: tuple[int, ...]
    wanted: bool

    @property
    def all(self) -> tuple[int, ...]:
        """All of them, those first that count anyway."""
        return tuple(dict.fromkeys([*self.read, *self.counted, *self.compared]))

    def for_methods(self, owners: Sequence[int]) -> tuple[int, ...]:
        """Of the distinct nulls those that only methods ask for.

        Args:
            owners: For each expert the first one that has the same null.
        """
        anyway = {owners[j] for j in (*self.read, *self.counted)}
        return tuple(j for j in dict.fromkeys(owners[j] for j in self.compared) if j not in anyway)


def null_counts(index: int, rule: Rule, coefficients: Coefficients, owners: Sequence[int], wanted: bool) -> bool:
    """Whether an expert's null enters the result, with what it counts for the experts that share it.

    Args:
        index: Whose.
        rule: How predictions are combined.
        coefficients: w and a.
        owners: For each expert the first one that has the same null.
        wanted: Whether U is asked for whatever the weights sum to.
    """
    together = [i for i, owner in enumerate(owners) if owner == owners[index]]
    weight, reliability = (
        total_of([of[i] for i in together]) for of in (coefficients.weights, coefficients.reliabilities)
    )
    return rule.needs_null(weight, reliability, coefficients.total) or (wanted and anywhere(reliability != 0))


def null_is_compared(index: int, rule: Rule, reliability: Coefficient, compared: Collection[int]) -> bool:
    """Whether methods that compare experts with U need this expert's null: for U, or because it is one of theirs.

    Args:
        index: Whose.
        rule: How predictions are combined.
        reliability: The expert's a.
        compared: The experts that are compared.
    """
    return (rule.always_combines_nulls and index in compared) or anywhere(reliability != 0)


def why_needed(
    index: int, needed: NeededNulls, term: TermSettings, rule: Rule, total: Coefficient, why_compared: tuple[str, str]
) -> tuple[str, str]:
    """Why an expert's null is needed, and what else would help than giving it.

    Args:
        index: Whose.
        needed: All that are.
        term: The expert's.
        rule: How predictions are combined.
        total: W.
        why_compared: What the method that compares says, see `Method.why_compared`.
    """
    counts = index in needed.counted
    if not counts and index in needed.compared:
        return why_compared
    if not counts:
        return "because a node that changed the guidance of its MODEL asks for it", "or remove that node"
    if needed.wanted and not rule.always_combines_nulls:
        return (
            f"whose reliability is {term.reliability:g}, because the sampler or a node asks for the unconditional "
            "estimate whatever the weights sum to, as CFG++ samplers do",
            "set its reliability to 0, or choose another sampler",
        )
    return rule.why(term, total)
