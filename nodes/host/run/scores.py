"""Scores that samples carry: every expert's lift score of them, from the run.

They belong to the tensor itself, because ComfyUI's sampler nodes copy the LATENT around it. A node that changes, saves
or copies samples, or takes some of them, makes a new tensor, which has no scores.
"""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass
from typing import Any

import comfy.model_management
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ....mcdm_core.product.methods.lift_scores import LiftScores
from ..chain.expert_chain import Experts, WiredTerm
from ..comfyui.latents import parts_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Scores:
    """The scores of a run's samples.

    Attributes:
        experts: The chain of the run; a cached LATENT must not keep MODELs.
        values: That of each sample by each expert whose weight is not 0, shape (B, N).
    """

    experts: tuple[weakref.ref[WiredTerm], ...]
    values: Tensor


_SCORES = WeakTensorKeyDictionary()  # beside the tensors, not on them, or those could not be pickled


def scores_of_run(scores: LiftScores, samples: Tensor, sigmas: Tensor) -> Tensor | None:
    """The experts' scores of the samples of a run; None, and a warning, where they aren't known.

    Args:
        scores: What was gathered in the run.
        samples: The finished samples, in the reference's latent space, shape (B, …).
        sigmas: The noise levels of the run.
    """
    if float(sigmas[-1]) != 0:
        logger.warning("The samples carry no scores, for noise is left in them; give the run noise levels to 0.")
        return None
    try:
        return scores.of(samples)
    except ValueError as error:
        logger.warning("The samples carry no scores, so Choose Samples can't rank them. %s", error)
        return None


def with_scores(samples: Any, experts: Experts, scores: Tensor) -> Any:
    """The samples with their scores, on the device where ComfyUI keeps nodes' outputs, so that it makes no copy.

    Args:
        samples: A tensor, or ComfyUI's nested one.
        experts: The chain as the user made it.
        scores: The scores by all experts whose weight is not 0, shape (B, N).
    """
    kept = samples.to(comfy.model_management.intermediate_device())
    _SCORES[parts_of(kept)[0]] = _Scores(tuple(map(weakref.ref, experts)), scores)
    return kept


def scores_of(samples: Any, experts: Experts) -> Tensor | None:
    """The scores that samples carry, shape (B, N).

    Args:
        samples: A tensor, or ComfyUI's nested one.
        experts: The chain whose scores are wanted.

    Returns:
        The scores; None if there are none, or they are another chain's.
    """
    scores: _Scores | None = _SCORES.get(parts_of(samples)[0])
    if scores is None:
        return None
    if [of() for of in scores.experts] != list(experts):
        logger.info("The samples carry scores of another chain of experts.")
        return None
    return scores.values


def carry_scores(source: Any, target: Any) -> Any:
    """The target, with the scores of the source, which has the same samples in another form."""
    scores = _SCORES.get(parts_of(source)[0])
    if scores is not None:
        _SCORES[parts_of(target)[0]] = scores
    return target
