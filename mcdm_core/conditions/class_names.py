"""Names of classes: finding one by what a person calls it, and ImageNet's 1000."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

IMAGENET = Path(__file__).parent / "imagenet_classes.txt"
IMAGENET_CLASSES = 1000
FEW = 20
"""So many names are all told to who asks for another."""
NEAREST = 5
"""Of more, so many."""


@lru_cache(maxsize=1)
def imagenet_names() -> tuple[tuple[str, ...], ...]:
    """What each class of ImageNet (ILSVRC 2012) is called: its synset, then its names.

    The order is that of the sorted synsets, which is that of the published networks' class indices.

    Example:
        >>> imagenet_names()[0]
        ('n01440764', 'tench', 'Tinca tinca')
    """
    lines = (line.split(" ", 1) for line in IMAGENET.read_text(encoding="utf-8").splitlines())
    return tuple((synset, *names.split(", ")) for synset, names in lines)


def find_class(names: Sequence[Sequence[str]], wanted: str) -> int:
    """Index of a class.

    Args:
        names: Everything that each class is called, in the order of their indices.
        wanted: One of a class's names, several of them with commas between, or its index in digits; in any case, and
            with blanks around it. An index is not compared with the number of classes.

    Raises:
        ValueError: If no class is called so, or several are.
    """
    folded = wanted.strip().casefold()
    if folded.isdecimal():
        return int(folded)
    parts = {part.strip() for part in folded.split(",")}
    found = []
    for index, called in enumerate(names):
        known = {name.casefold() for name in called}
        if folded in known or parts <= known:
            found.append(index)
    if len(found) > 1:
        which = " and ".join(f"{index} ({', '.join(names[index])})" for index in found)
        raise ValueError(f"Expected one class, and {wanted!r} may be {which}; give the number of the one you mean.")
    if not found:
        raise ValueError(f"Expected a class, {_choices(names, folded)}, and got {wanted!r}; correct the class.")
    return found[0]


def _choices(names: Sequence[Sequence[str]], folded: str) -> str:
    """What could have been given in the place of an unknown name."""
    if not names:
        return "its index; this expert knows no names"
    every = [name for called in names for name in called]
    if len(every) <= FEW:
        return f"one of {', '.join(every)}"
    by_folded = {name.casefold(): name for name in every}
    holding = [name for name in by_folded if folded in name.split()]  # "red fox" is nearer to "fox" than "box" is
    nearest = dict.fromkeys([*holding, *get_close_matches(folded, by_folded, NEAREST)])
    such_as = [by_folded[name] for name in nearest][:NEAREST]
    return "its name or its index" + (f" (the nearest names are {', '.join(such_as)})" if such_as else "")
