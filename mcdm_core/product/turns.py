"""Experts that take turns instead of acting together.

Zhong et al., "Multi-LoRA Composition for Image Generation", 2024 (arXiv 2402.16843): LoRA Switch, in which at each step
a single adapter is at work, and the next one some steps later.
"""

from collections.abc import Collection, Sequence

ROUNDING = 1e-4  # relative, of noise levels that samplers compute by way of logarithms


def step_at(levels: Sequence[float], sigma: float) -> int:
    """The step of a run that a call belongs to, from 1: the last one whose level it has reached.

    Args:
        levels: Noise levels of the run.
        sigma: Noise level of the call; samplers may ask between the levels.
    """
    return sum(level * (1 + ROUNDING) >= sigma for level in levels)


def acting_in_turn(active: Sequence[int], guiding: Collection[int], turn: int) -> tuple[int, ...]:
    """The experts that act where one of those that guide has its turn; the others always act.

    Args:
        active: Indices of the experts whose window it is, ascending.
        guiding: Those that take turns, as far as they are active.
        turn: How many turns have passed; after the last expert's comes the first's.
    """
    taking = [i for i in active if i in guiding]
    if not taking:
        return tuple(active)
    own = taking[turn % len(taking)]
    return tuple(i for i in active if i == own or i not in guiding)
