"""Finds classes by name; the names of ImageNet's 1000 classes."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

IMAGENET = Path(__file__).parent / "imagenet_classes.txt"
IMAGENET_CLASSES = 1000
FEW = 20
"""Most names that a message lists in full."""
NEAREST = 5
"""Names that a message suggests where there are more."""


@lru_cache(maxsize=1)
def imagenet_names() -> tuple[tuple[str, ...], ...]:
    """Synset and names of each class of ImageNet (ILSVRC 2012).

    They are in the order of the sorted synsets, as are the published networks' class indices.

    Example:
        >>> imagenet_names()[0]
        ('n01440764', 'tench', 'Tinca tinca')
    """
    lines = (line.split(" ", 1) for line in IMAGENET.read_text(encoding="utf-8").splitlines())
    return tuple((synset, *names.split(", ")) for synset, names in lines)


def find_class(names: Sequence[Sequence[str]], wanted: str) -> int:
    """Index of a class.

    Args:
        names: All names of each class, in the order of their indices.
        wanted: One of a class's names, several of them between commas, or its index in digits; case and blanks around
            it are ignored. An index is not compared with the number of classes.

    Raises:
        ValueError: If no class has this name, or several have.
    """
    folded = wanted.strip().casefold()
    if folded.isdecimal():
        return int(folded)
    parts = {part.strip() for part in folded.split(",")}
    matching = []
    for index, called in enumerate(names):
        known = {name.casefold() for name in called}
        if folded in known or parts <= known:
            matching.append(index)
    if len(matching) > 1:
        which = " and ".join(f"{index} ({', '.join(names[index])})" for index in matching)
        raise ValueError(f"Expected one class, and {wanted!r} may be {which}; give the number of the one you mean.")
    if not matching:
        raise ValueError(f"Expected a class, {_choices(names, folded)}, and got {wanted!r}; correct the class.")
    return matching[0]


def _choices(names: Sequence[Sequence[str]], folded: str) -> str:
    """Names that could be given instead of an unknown one, for a message."""
    if not names:
        return "its index; this expert knows no names"
    every = [name for called in names for name in called]
    if len(every) <= FEW:
        return f"one of {', '.join(every)}"
    by_folded = {name.casefold(): name for name in every}
    holding = [name for name in by_folded if folded in name.split()]  # for "fox", "red fox" goes before "box"
    nearest = dict.fromkeys([*holding, *get_close_matches(folded, by_folded, NEAREST)])
    such_as = [by_folded[name] for name in nearest][:NEAREST]
    return "its name or its index" + (f" (the nearest names are {', '.join(such_as)})" if such_as else "")
