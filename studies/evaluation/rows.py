"""Counts the rows that networks are given, the cost of sampling."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn

from mcdm_core.product.terms.term import Term

from .config import Setting
from .jobs import batches_of, sampled_together

ROWS = "rows"
PER_PICTURE = "rows per picture"
"""The measure: a batch's rows, divided by its pictures. Passes are skipped by whole batches, whose pictures thus have
one value, so the bootstrap draws batches."""


class Rows:
    """Counts the rows of every batch that a network is given."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, network: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Count a batch; a hook that torch calls before the network."""
        self.count += len(arguments[0])


@contextmanager
def count_rows(terms: Sequence[Term]) -> Iterator[Rows]:
    """Count the rows that the networks of these experts are given within the context."""
    rows = Rows()
    networks = {id(term.expert.network): term.expert.network for term in terms}
    hooks = [network.register_forward_pre_hook(rows.add) for network in networks.values()]
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


def units(measure: str, count: int, *settings: Setting | None) -> np.ndarray:
    """What the bootstrap draws of a measure.

    Args:
        measure: Its name.
        count: Number of pictures, from the first on.
        settings: How they were sampled; several where their values are subtracted. Drawings have no `PER_PICTURE`.

    Returns:
        For each picture the number of its unit, (count,): of the picture itself or, of `PER_PICTURE`, of the batch that
        it was sampled in; of several settings' batches, the smallest pieces that cut none in two.
    """
    if measure != PER_PICTURE:
        return np.arange(count)
    starts = [
        {part.start for batch in batches_of(count) for part in sampled_together(setting, batch)}
        for setting in filter(None, settings)
    ]
    return np.cumsum([picture in set.intersection(*starts) for picture in range(count)])
