"""The combinations of experts: three predictions times eight attachments, in all pairs and in seeded triples."""

import random
from itertools import combinations_with_replacement, product

from .variants import ATTACHMENTS, PREDICTIONS

EXPERTS = tuple(product(PREDICTIONS, ATTACHMENTS))

PAIR_SAMPLER = "euler"
TRIPLE_SAMPLERS = ("heun", "dpmpp_2m", "euler_cfg_pp")
TRIPLES = 100
IN_CI = 40

Combination = tuple[str, tuple[tuple[str, str], ...]]  # a sampler and (prediction, attachment) of every expert


def all_combinations() -> list[Combination]:
    """300 unordered pairs, an expert with itself included, and 100 triples."""
    pairs = list(combinations_with_replacement(EXPERTS, 2))
    # Either expert of an unordered pair may be the reference.
    draw = random.Random(10)
    found = [(PAIR_SAMPLER, tuple(draw.sample(pair, 2))) for pair in pairs]
    triples = [tuple(draw.choices(EXPERTS, k=3)) for _ in range(TRIPLES)]
    return found + [(TRIPLE_SAMPLERS[i % len(TRIPLE_SAMPLERS)], triple) for i, triple in enumerate(triples)]


def fixed_combinations() -> list[Combination]:
    """The 40 combinations that every run of the tests checks."""
    return random.Random(14).sample(all_combinations(), IN_CI)


def name_of(combination: Combination) -> str:
    sampler, experts = combination
    return f"{' + '.join(f'{prediction} {attachment}' for prediction, attachment in experts)}, {sampler}"
