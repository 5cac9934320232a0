"""Measures of pictures that should show one of several captions (OR), and of excluded captions (NOT)."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..metrics import right_answers
from .config import Setting
from .held_out import HeldOut


def alternatives(setting: Setting | None, count: int, held_out: HeldOut) -> list[list[int]]:
    """For each requested caption, in order and without repetition, the index of each sample's source picture."""
    if setting is None:
        return [list(range(count))]
    shifts = [term.shift for term in setting.terms if "text" in term.condition and term.weight > 0]
    return [held_out.sources(shift, range(count)) for shift in dict.fromkeys(shifts)]


def excluded(setting: Setting | None, names: Collection[str], count: int, held_out: HeldOut) -> dict[str, list[int]]:
    """For each attribute that a caption of its own excludes, the index of each sample's source picture.

    A term of weight 0 excludes nothing, but names attributes to measure for comparison.

    Raises:
        ValueError: If an attribute is excluded with the values of two pictures, which have no common measure.
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
    """How well each picture fits one of the captions.

    Args:
        read: Attribute → its value in each picture, as read.
        captions: For each caption, in order, the attributes that it names for each picture.

    Returns:
        "one face", 1 where all attributes of a caption are right, and "of either", the share of right attributes of the
        best caption; for several captions also "mixed", 1 where attributes are right that no single caption has all of,
        and "the first", 1 where the first caption is the best, ½ where it ties with another.
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
        read: Attribute → its value in each picture, as read.
        unwanted: Attribute → its excluded value in each picture, for some of the attributes.
    """
    return {
        f"excluded {name.replace('_', ' ')}": right_answers(read[name], values) for name, values in unwanted.items()
    }
