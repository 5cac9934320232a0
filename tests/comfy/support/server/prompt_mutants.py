"""Prompts that no page would send: one part of a good prompt is replaced by something else.

The change is drawn from a seed or by hypothesis, which also draws any JSON for an input and shrinks failing examples.
"""

import copy
import random
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

NUMBERS = (-1, 0, 1, 0.5, -0.5, 2**63, 2**64, -(2**64), 2**200, 1e308, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    " ",
    "x",
    "x" * 20000,
    "../../x",
    "C:\\x",
    "\x00",
    "\ud800",
    "NaN",
    "1e999",
    "0-1 [999999999]",
    "⁵, ½",
    "💥",
)
OTHERS = (None, True, False, [], {}, {"a": 1}, ["x"], [1, 2, 3], [[]], [[[[]]]], {"content": {}}, [{}, 0], [None, 0])
SLOTS = (0, 1, 2, 3, 99, -1, 0.5, "0", None, [], True, 2**70)


@dataclass(frozen=True)
class Mutant:
    """A prompt and its change.

    Attributes:
        change: The change, in words.
        prompt: The changed prompt.
    """

    change: str
    prompt: Any


def mutant(good: dict, chance: random.Random) -> Mutant:
    """One prompt with a random change."""
    prompt = copy.deepcopy(good)
    change = chance.choices(list(_CHANGES), list(_CHANGES.values()))[0]
    return Mutant(change(prompt, chance), prompt)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_JSON = st.recursive(
    _SCALARS | st.sampled_from((*NUMBERS, *TEXTS)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def drawn_mutants(draw: st.DrawFn, prompts: list[dict]) -> Mutant:
    """A mutant, or a prompt with any JSON in up to two inputs."""
    good = draw(st.sampled_from(prompts))
    chance = draw(st.randoms(use_true_random=False))
    if draw(st.booleans()):
        return mutant(good, chance)
    prompt, changes = copy.deepcopy(good), []
    for _ in range(draw(st.integers(1, 2))):
        node_id, inputs = _inputs(prompt, chance)
        name = chance.choice(list(inputs))
        inputs[name] = draw(_JSON)
        changes.append(f"{node_id}.{name} = {inputs[name]!r}")
    return Mutant(", ".join(changes), prompt)


def _value(prompt: dict, chance: random.Random) -> str:
    node_id, inputs = _inputs(prompt, chance)
    name = chance.choice(list(inputs))
    inputs[name] = copy.deepcopy(chance.choice(chance.choice((NUMBERS, TEXTS, OTHERS))))
    return f"{node_id}.{name} = {str(inputs[name])[:40]!r}"


def _link(prompt: dict, chance: random.Random) -> str:
    node_id, inputs = _inputs(prompt, chance)
    name = chance.choice(list(inputs))
    inputs[name] = [chance.choice([*prompt, node_id, "nowhere", 3]), chance.choice(SLOTS)]
    return f"{node_id}.{name} linked to {inputs[name]}"


def _missing(prompt: dict, chance: random.Random) -> str:
    node_id, inputs = _inputs(prompt, chance)
    name = chance.choice(list(inputs))
    del inputs[name]
    return f"{node_id}.{name} left out"


def _no_inputs(prompt: dict, chance: random.Random) -> str:
    node_id, _ = _inputs(prompt, chance)
    prompt[node_id]["inputs"] = chance.choice((None, [], {}, "x", 1))
    return f"inputs of {node_id} are {prompt[node_id]['inputs']}"


def _class(prompt: dict, chance: random.Random) -> str:
    node_id, _ = _inputs(prompt, chance)
    classes = {node["class_type"] for node in prompt.values()}
    prompt[node_id]["class_type"] = chance.choice([*sorted(classes), "MCDM_Nothing", None, 3, [], {}])
    return f"{node_id} is a {prompt[node_id]['class_type']}"


def _node(prompt: dict, chance: random.Random) -> str:
    node_id, _ = _inputs(prompt, chance)
    prompt[node_id] = chance.choice((None, [], "x", 1, {}, {"inputs": {}}))
    return f"{node_id} is {prompt[node_id]}"


def _inputs(prompt: dict, chance: random.Random) -> tuple[str, dict]:
    """The id and the inputs of one of this pack's nodes."""
    node_id = chance.choice([name for name, node in prompt.items() if node["class_type"].startswith("MCDM_")])
    return node_id, prompt[node_id]["inputs"]


_CHANGES = {_value: 10, _link: 4, _missing: 2, _no_inputs: 1, _class: 1, _node: 1}
