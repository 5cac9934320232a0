"""Conditions that a product leaves idle."""

from __future__ import annotations

import logging

from ..chain.expert_chain import Experts

logger = logging.getLogger(__name__)


def warn_of_idle_conditions(experts: Experts) -> None:
    """Say so where experts have conditions and all weights are 0, so that none has an effect."""
    if any(expert.condition is not None for expert in experts) and all(expert.weight == 0 for expert in experts):
        logger.warning(
            "Every weight is 0, so the picture follows no prompt (condition); raise the weight of a Diffusion Expert."
        )
