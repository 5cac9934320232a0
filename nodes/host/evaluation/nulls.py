"""Nulls that experts share, and nulls that have to be asked beside their condition."""

from __future__ import annotations

import logging

from ....mcdm_core.product.plan import Asked
from ..weights.alike import same_conditioning
from .networks import LocalNetworks
from .types import NULL

logger = logging.getLogger(__name__)


class Nulls:
    """The nulls of one run.

    Args:
        networks: The networks of the experts.
    """

    def __init__(self, networks: LocalNetworks):
        self.experts = networks.experts
        self.conds = networks.conds
        self.networks = networks
        self._told_of_pairs = False
        for expert, own, reads_pairs in zip(self.experts, self.conds, networks.reads_pairs, strict=True):
            if reads_pairs and NULL not in own:
                logger.warning(
                    "The MODEL of %s reads the negative beside the prompt, and there is none; connect null.",
                    expert.label,
                )

    def shared(self) -> list[int]:
        """For every expert the one whose null is used as its own."""
        return [self._null_of(index) for index in range(len(self.experts))]

    def to_ask(self, wanted: Asked, guided: bool) -> list[int]:
        """The experts whose null is asked: those that the product needs, and those that are read beside a condition.

        Args:
            wanted: The predictions that the product needs.
            guided: Whether the product needs nulls. False at cfg 1, where ComfyUI asks for no negatives unless a node
                demands them.
        """
        asked_beside = self.networks.may_read_pairs if guided else self.networks.reads_pairs
        beside = [i for i in wanted.conditions if asked_beside[i] and NULL in self.conds[i]]
        asked = list(dict.fromkeys([*wanted.nulls, *beside]))
        if beside and not self._told_of_pairs:
            self._told_of_pairs = True
            needed = {self._first_with_same_null(j) for j in wanted.nulls}
            more = sum(len(self.conds[j][NULL]) for j in asked) - sum(len(self.conds[j][NULL]) for j in needed)
            logger.info(
                "The MODEL of %s, or a node on it, may read the prompt beside its negative, so each prompt is asked "
                "together with its own negative: %d more rows per picture at every step.",
                " and ".join(self.experts[i].label for i in beside),
                more,
            )
        return asked

    def _null_of(self, index: int) -> int:
        """The expert whose null is used as this one's: itself if the condition beside a null may change it."""
        first, in_pairs = self._first_with_same_null(index), self.networks.may_read_pairs
        return index if in_pairs[index] or in_pairs[first] else first

    def _first_with_same_null(self, index: int) -> int:
        null = self.conds[index].get(NULL)
        for first in range(index):
            other = self.conds[first].get(NULL)
            one_model = self.networks.model_of(first) is self.networks.model_of(index)
            if null and other and one_model and same_conditioning(null, other):
                return first
        return index
