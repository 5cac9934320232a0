"""Mixtures of drawn kinds, configured by a section `[data.sets.KIND]` for each."""

from dataclasses import replace

from mcdm_core.training.config import DataConfig

from .sets import check_set, set_of

MIXTURE = "mixture"
"""The kind of data whose `sets` are of several kinds, each with its own seeds; all pictures are equally frequent."""

KINDS = ("faces", "landscapes", "animals")
"""Kinds that can be mixed."""


def parts_of(data: DataConfig) -> dict[str, DataConfig]:
    """Kind → its set in a mixture; a set of another kind is its own only part."""
    if data.kind != MIXTURE:
        return {data.kind: data}
    return {kind: replace(set_of(data, kind), kind=kind, modalities=()) for kind in data.sets}


def check_mixture(data: DataConfig) -> None:
    """Check a mixture's sets.

    Raises:
        ValueError: It is no mixture of drawn kinds, or it has modalities.
    """
    if data.kind != MIXTURE or not data.sets or not set(data.sets) <= set(KINDS):
        raise ValueError(
            f"Expected [data] of kind {MIXTURE!r} with a section [data.sets.KIND] for some of {', '.join(KINDS)}, and "
            f"got {data.kind!r} with sets of {sorted(data.sets) or 'nothing'}; correct it."
        )
    if data.modalities or data.trained:
        raise ValueError("The pictures of a mixture have no conditions in common; remove modalities and trained.")
    for kind, values in data.sets.items():
        check_set(kind, values)
