"""Experts that take turns instead of acting together.

Zhong et al., "Multi-LoRA Composition for Image Generation", 2024 (arXiv 2402.16843): LoRA Switch, in which at each step
a single adapter is at work, and the next one some steps later.
"""

from collections.abc import Collection, Sequence

from ..terms.term_numbers import TermNumbers
from .method import Method

ROUNDING = 1e-4  # relative, of noise levels that samplers compute by way of logarithms


def step_at(levels: Sequence[float], sigma: float) -> int:
    """The number of the step of a run that a call belongs to, from 1: the last step whose level the call has reached.

    Args:
        levels: Noise levels of the run.
        sigma: Noise level of the call; samplers may evaluate between the levels.
    """
    return sum(level * (1 + ROUNDING) >= sigma for level in levels)


class Turns(Method):
    """Lets experts of positive weight act one after another, in the order of the chain; the others act all the time.

    Args:
        steps: How many steps a turn lasts, 1 or more.
        remedy: What to do against turns, in messages.
    """

    saves = True

    def __init__(self, steps: int, remedy: str):
        self._steps, self._remedy = steps, remedy
        self._levels: Sequence[float] = ()

    def begin(self, levels: Sequence[float], read_nulls: Collection[int] = ()) -> None:
        """Take the run's levels; outside a run, all experts act together."""
        self._levels = levels

    def forget(self) -> None:
        """Drop the run's levels."""
        self._levels = ()

    def sets(self, active: tuple[int, ...], terms: Sequence[TermNumbers]) -> list[tuple[int, ...]]:
        """One for each expert of positive weight, with those that take no turn; all at once if none has any."""
        guiding = [i for i in active if terms[i].weight > 0]
        return [tuple(i for i in active if i == own or i not in guiding) for own in guiding] or [active]

    def check_separate(self) -> None:
        """Refuse them: a density that changes in its own turns alone is never weighed against another's.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "Expected experts that act at the same time for this sampler, which chooses between them, and got experts "
            f"that take turns; {self._remedy}, or use another sampler."
        )

    def turn(self, sigma: float) -> int | None:
        """The number of turns that have passed in the run."""
        return (max(step_at(self._levels, sigma), 1) - 1) // self._steps if self._levels else None
