"""Share of pictures that show the requested class or attributes."""

from collections.abc import Mapping, Sequence

import numpy as np

from .bootstrap import Figure


def class_accuracy(read: Sequence[str], asked: Sequence[str]) -> Figure:
    """Share of pictures whose class, as read by a classifier, is the requested one.

    Args:
        read: Class of each picture, as read.
        asked: Requested class of each picture.

    Returns:
        Accuracy, 0…1, with its bootstrap interval over pictures.

    Raises:
        ValueError: There are no pictures, or not one class asked for each.
    """
    return Figure.of(right_answers(read, asked))


def attribute_accuracy(
    read: Mapping[str, Sequence[str]], asked: Sequence[Mapping[str, str]], mean: str
) -> dict[str, Figure]:
    """Share of pictures that show each attribute as requested, and the mean over attributes.

    Args:
        read: Attribute → its value in each picture, as read.
        asked: For each picture, attribute → requested value; other attributes are ignored.
        mean: Name of the mean over attributes, which is taken per picture, so that its interval is over pictures.

    Returns:
        Name → accuracy, 0…1, with its bootstrap interval.

    Raises:
        ValueError: There are no pictures or no attributes, or not one value for each picture.
    """
    if not read:
        raise ValueError("Accuracy needs an attribute or more, but none was read; name what pictures should show.")
    right = {name: right_answers(values, [wanted[name] for wanted in asked]) for name, values in read.items()}
    return {name: Figure.of(values) for name, values in (right | {mean: np.mean([*right.values()], axis=0)}).items()}


def right_answers(read: Sequence[str], asked: Sequence[str]) -> np.ndarray:
    """1 for each picture whose value is the requested one, 0 for the others, (N,).

    Raises:
        ValueError: As `class_accuracy`.
    """
    if len(read) != len(asked) or not len(read):
        raise ValueError(
            f"Accuracy needs what was read and what was asked for of the same pictures, one or more, but got "
            f"{len(read)} and {len(asked)}; pass one of each a picture."
        )
    return np.array([float(r == a) for r, a in zip(read, asked, strict=True)])
