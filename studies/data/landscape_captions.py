"""Captions of drawn landscapes, in freely varied wording."""

from collections.abc import Collection, Mapping

import numpy as np

from .landscapes import ATTRIBUTES

_ADJECTIVES = {
    "sky": {
        "blue": ("blue", "azure"),
        "red": ("red", "crimson"),
        "purple": ("purple", "violet"),
        "dark": ("dark", "black"),
    },
    "hills": {
        "green": ("green", "grassy"),
        "brown": ("brown", "sandy"),
        "blue": ("blue", "navy"),
        "white": ("white", "snowy"),
    },
}
_ORBS = {
    "sun": ("the sun", "a sun", "the shining sun", "a yellow sun", "the sun in the sky"),
    "moon": ("the moon", "a moon", "the full moon", "a white moon", "the moon in the sky"),
    "none": ("no sun and no moon", "an empty sky", "neither sun nor moon", "nothing in the sky"),
}
_OPENINGS = (
    "",
    "a landscape with ",
    "a picture of a landscape with ",
    "in a landscape with ",
    "a scene with ",
    "a view of ",
    "landscape, ",
)


def landscape_caption(
    attributes: Mapping[str, str], rng: np.random.Generator, names: Collection[str] | None = None
) -> str:
    """Describe a landscape: random order, form and synonyms.

    Args:
        attributes: Value of each of `ATTRIBUTES`.
        rng: Source of all randomness.
        names: Attributes to name; these and no others are. None picks a random subset, never an empty one.

    Returns:
        One caption.

    Raises:
        ValueError: If a name is unknown or there is none.
    """
    if names is None:
        names = rng.choice(list(ATTRIBUTES), size=int(rng.integers(1, len(ATTRIBUTES) + 1)), replace=False).tolist()
    if not names or set(names) - set(ATTRIBUTES):
        raise ValueError(f"Expected names among {', '.join(ATTRIBUTES)} and got {sorted(names)}; correct them.")
    parts = [_part(name, attributes[name], rng) for name in rng.permutation(sorted(names)).tolist()]
    return str(rng.choice(_OPENINGS)) + _join(parts, rng)


def _part(name: str, value: str, rng: np.random.Generator) -> str:
    if name == "orb":
        return str(rng.choice(_ORBS[value]))
    word = str(rng.choice(_ADJECTIVES[name][value]))
    if name == "sky":
        article = "an" if word[0] in "aeiou" else "a"
        return str(rng.choice([f"{article} {word} sky", f"{word} sky", f"the sky is {word}", f"a sky that is {word}"]))
    noun = str(rng.choice(["hills", "mountains"]))
    return str(rng.choice([f"{word} {noun}", f"{word} {noun}", f"the {noun} are {word}", f"{noun} that are {word}"]))


def _join(parts: list[str], rng: np.random.Generator) -> str:
    last = str(rng.choice([", ", " and ", " with "]))
    return ", ".join(parts[:-1]) + last + parts[-1] if len(parts) > 1 else parts[0]
