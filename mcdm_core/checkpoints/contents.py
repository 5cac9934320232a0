"""The header of a file of tensors, read before any tensor."""

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


class Unusable(ValueError):  # noqa: N818 - internal: the reader puts the file's name before it
    """Why a file cannot be used, as the predicate of a sentence about the file."""


DAMAGED = "is not a checkpoint, or is damaged; download or export it again."


@dataclass(frozen=True)
class Entry:
    """A tensor as described in a file's header."""

    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """A file's header.

    Attributes:
        entries: The tensors by name.
        texts: Texts of the header, by name.
        read: Returns all tensors, memory-mapped from the file.
    """

    entries: Mapping[str, Entry]
    texts: Mapping[str, str]
    read: Callable[[], dict[str, Tensor]]


def refuse_too_many(tensors: int) -> None:
    """Refuse a file of so many tensors that going through them would block other work.

    Raises:
        Unusable: There are more than `MAX_TENSORS`.
    """
    if tensors > MAX_TENSORS:
        raise Unusable(f"has {tensors:,} tensors, and a file of an expert at most {MAX_TENSORS:,}; choose an expert.")


def truncated(expected: int, found: int) -> Unusable:
    """The error of a file that lacks bytes at its end."""
    return Unusable(f"is truncated: {expected:,} bytes were expected and {found:,} came; download or copy it again.")
