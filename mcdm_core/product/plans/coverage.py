"""Masks and windows that leave an expert without a say, or a part of the picture without a prompt."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from ..terms.span import Window, is_within
from ..terms.term_numbers import TermNumbers

logger = logging.getLogger(__name__)


def warn_of_empty(terms: Sequence[TermNumbers], masks: Sequence[Tensor | None]) -> None:
    """Warn of experts that guide or lend their null, and have a mask that is 0 everywhere.

    Args:
        terms: The numbers of all experts.
        masks: Each expert's mask; None covers everything.
    """
    for term, mask in zip(terms, masks, strict=True):
        if mask is not None and (term.weight != 0 or term.reliability != 0) and not mask.any():
            logger.warning(
                "The mask of %s is 0 everywhere, so it has no say; widen the mask, or remove it.", term.label
            )


def warn_of_missed(terms: Sequence[TermNumbers], windows: Sequence[Window], levels: Sequence[float]) -> None:
    """Warn of experts that guide and have a window within the run that lies between the noise levels of two steps.

    Not of windows beyond the levels of the run: it may be a part of another, or begin at a picture.

    Args:
        terms: The numbers of all experts.
        windows: Each expert's window.
        levels: The run's noise levels, in any order.
    """
    last, first = min(levels), max(levels)
    for term, window in zip(terms, windows, strict=True):
        start, end = window
        met = any(is_within(window, level) for level in levels if level > 0)  # at 0 no network is asked
        if term.weight != 0 and start > last and end < first and not met:
            logger.warning(
                "The window of %s, σ from %.4g to %.4g, holds none of the noise levels of this run (steps: %d), so it "
                "has no say; widen the window, or take more steps.",
                *(term.label, start, max(end, 0.0), len(levels) - 1),
            )


def warn_of_uncovered(terms: Sequence[TermNumbers], active: Sequence[int], masks: Sequence[Tensor | None]) -> bool:
    """Warn if a part of the picture is covered by no mask of an expert that guides; those of weight 0 don't.

    Args:
        terms: The numbers of all experts.
        active: Indices of the experts that act.
        masks: Each expert's mask, of shapes that broadcast to one another; None covers everything.

    Returns:
        Whether there was such a part.
    """
    guiding = [masks[i] for i in active if terms[i].weight != 0]
    given = [mask for mask in guiding if mask is not None]
    if not given or len(given) < len(guiding):
        return False
    uncovered = (torch.stack(torch.broadcast_tensors(*given)).sum(0) == 0).float().mean().item()
    if uncovered > 0:
        logger.warning(
            "No mask covers %.1f %% of the picture, which follows no prompt there; widen a mask, or remove one.",
            100 * uncovered,
        )
    return uncovered > 0
