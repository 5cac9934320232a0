"""What pictures show of several captions of which one is enough, and of captions that are excluded."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..metrics import right_answers
from .config import Setting
from .held_out import HeldOut


def alternatives(setting: Setting | None, count: int, held_out: HeldOut) -> list[list[int]]:
    """For each caption that is asked for, in order and once, the picture of each sample that it is of."""
    if setting is None:
        return [list(range(count))]
    shifts = [term.shift for term in setting.terms if "text" in term.condition and term.weight > 0]
    return [held_out.sources(shift, range(count)) for shift in dict.fromkeys(shifts)]


def excluded(setting: Setting | None, names: Collection[str], count: int, held_out: HeldOut) -> dict[str, list[int]]:
    """Of each attribute that a caption alone excludes, the picture of each sample that the caption is of.

    A term of weight 0, which nothing is asked of, says what to look for in pictures that exclude nothing.

    Raises:
        ValueError: If an attribute is excluded as two pictures have it, for which there is no one measure.
    """
    terms = [] if setting is None else [term for term in setting.terms if term.weight <= 0]
    shifts = {(name, term.shift) for term in terms for name in names if name in term.condition}
    by_name = dict(sorted(shifts))
    if setting is not None and len(by_name) < len(shifts):
        raise ValueError(f"{setting.name!r} excludes an attribute as two pictures have it; exclude one of them.")
    return {name: held_out.sources(shift, range(count)) for name, shift in by_name.items()}


def measure_alternatives(
    read: Mapping[str, Sequence[str]], captions: Sequence[Sequence[Mapping[str, str]]]
) -> dict[str, np.ndarray]:
    """How far each picture is of one caption, whichever that is.

    Args:
        read: Attribute → its value in each picture.
        captions: Of each caption, in order, the attributes that it names of each picture.

    Returns:
        "one face", 1 where a caption has all attributes right, and "of either", the share of them that the best
        caption has; of several captions also "mixed", 1 where no caption has all that any of them has, and "the first",
        1 where the first is the best, ½ where it shares that with another.
    """
    right = np.array(
        [
            [right_answers(values, [attributes[name] for attributes in caption]) for name, values in read.items()]
            for caption in captions
        ]
    )  # (captions, attributes, pictures)
    shares = right.mean(axis=1)
    best = shares.max(axis=0)
    measures = {"one face": (best == 1).astype(float), "of either": best}
    if len(captions) > 1:
        measures["mixed"] = (right.sum(axis=1).max(axis=0) < right.max(axis=0).sum(axis=0)).astype(float)
        measures["the first"] = (shares[0] == best) / (shares == best).sum(axis=0)
    return measures


def measure_excluded(read: Mapping[str, Sequence[str]], unwanted: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Whether each picture shows what its caption excludes, 0 or 1.

    Args:
        read: Attribute → its value in each picture.
        unwanted: The same, as excluded; of some of the attributes.
    """
    return {
        f"excluded {name.replace('_', ' ')}": right_answers(read[name], values) for name, values in unwanted.items()
    }
