"""What a file of tensors says it holds, before any of it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_HEADER = 2**20
"""Bytes of a header, eight times those of the largest published file; reading takes up to 50 times as much memory."""
MAX_TENSORS = 5_000
"""Six times as many as the largest published file has."""


class CheckpointError(ValueError):
    """A file that cannot be used, in one sentence for the user."""


class Unusable(ValueError):  # noqa: N818 - not an error of its own: its reader puts the file's name before it
    """Why a file cannot be used: the predicate of a sentence about it."""


DAMAGED = "is not a checkpoint, or is damaged; download or export it again."


@dataclass(frozen=True)
class Entry:
    """A tensor that a file says it holds."""

    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """A file's header.

    Attributes:
        entries: The tensors by name.
        texts: What else it tells, by name.
        read: Reads all tensors, mapped into memory where they lie.
    """

    entries: Mapping[str, Entry]
    texts: Mapping[str, str]
    read: Callable[[], dict[str, Tensor]]


def refuse_too_many(tensors: int) -> None:
    """Refuse a file of so many tensors that to go through them would hold others up.

    Raises:
        Unusable: There are more than `MAX_TENSORS`.
    """
    if tensors > MAX_TENSORS:
        raise Unusable(f"has {tensors:,} tensors, and a file of an expert at most {MAX_TENSORS:,}; choose an expert.")
