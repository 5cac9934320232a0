"""Counts the rows that networks are given, the cost of sampling."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from mcdm_core.product.terms.term import Term

ROWS = "rows"
PER_PICTURE = "rows per picture"


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
