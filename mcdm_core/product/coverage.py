"""Masks that leave an expert without a say, or a part of the picture without a prompt."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from .term_settings import TermSettings

logger = logging.getLogger(__name__)


def warn_of_masks(terms: Sequence[TermSettings], active: Sequence[int], masks: Sequence[Tensor | None]) -> bool:
    """Warn if an expert that guides has an empty mask, or no such expert's mask covers a part of the picture.

    Args:
        terms: The settings of all experts; those of weight 0 don't guide.
        active: Indices of the experts that act.
        masks: Each expert's mask, of shapes that broadcast to one another; None covers everything.

    Returns:
        Whether there was a warning.
    """
    guiding = [i for i in active if terms[i].weight != 0]
    given = {i: mask for i in guiding if (mask := masks[i]) is not None}
    empty = [terms[i].label for i, mask in given.items() if not mask.any()]
    for label in empty:
        logger.warning("The mask of %s is 0 everywhere, so it has no say; widen the mask, or remove it.", label)
    if not given or len(given) < len(guiding):
        return bool(empty)
    uncovered = (torch.stack(torch.broadcast_tensors(*given.values())).sum(0) == 0).float().mean().item()
    if uncovered > 0:
        logger.warning(
            "No mask covers %.1f %% of the picture, which follows no prompt there; widen a mask, or remove one.",
            100 * uncovered,
        )
    return uncovered > 0 or bool(empty)
