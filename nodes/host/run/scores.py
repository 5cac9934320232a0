"""Scores that ride with samples: how far the experts of a run lift what it made.

They go with the tensor itself, as ComfyUI's sampler nodes copy the LATENT around it, and so that whatever changes the
samples, takes some of them, saves or copies them leaves the scores behind.
"""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass
from typing import Any

import comfy.model_management
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ....mcdm_core.product.lifts import Lifts
from ..chain.expert_chain import ExpertInput, Experts
from ..comfyui.latents import parts_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Scores:
    """What a run found.

    Attributes:
        experts: Its chain; a cached LATENT must not keep MODELs.
        lifts: See `Lifts.of`.
    """

    experts: tuple[weakref.ref[ExpertInput], ...]
    lifts: Tensor


_SCORES = WeakTensorKeyDictionary()  # beside the tensors, not on them, or those could not be pickled


def lifts_of_run(lifts: Lifts, samples: Tensor, sigmas: Tensor) -> Tensor | None:
    """How far the experts lift the samples of a run; None, and a warning, where that isn't known.

    Args:
        lifts: What the run gathered.
        samples: What it made, in the reference's latent space, shape (B, …).
        sigmas: Its noise levels.
    """
    if float(sigmas[-1]) != 0:
        logger.warning("The samples carry no scores, for noise is left in them; give the run noise levels to 0.")
        return None
    try:
        return lifts.of(samples)
    except ValueError as error:
        logger.warning("The samples carry no scores, and Choose Samples will ask the experts. %s", error)
        return None


def with_scores(samples: Any, experts: Experts, lifts: Tensor | None) -> Any:
    """The samples, where ComfyUI keeps what nodes hand on, so that no copy is made on the way; and their scores.

    Args:
        samples: A tensor, or ComfyUI's nested one.
        experts: The chain as the user made it.
        lifts: Of all experts of a weight, shape (B, N); None leaves the samples as they are.
    """
    if lifts is None:
        return samples
    kept = samples.to(comfy.model_management.intermediate_device())
    _SCORES[parts_of(kept)[0]] = _Scores(tuple(map(weakref.ref, experts)), lifts)
    return kept


def scores_of(samples: Any, experts: Experts) -> Tensor | None:
    """The scores that ride with samples, shape (B, N).

    Args:
        samples: A tensor, or ComfyUI's nested one.
        experts: The chain that they are wanted of.

    Returns:
        None where there are none, or those of another chain.
    """
    scores: _Scores | None = _SCORES.get(parts_of(samples)[0])
    if scores is None:
        return None
    if [of() for of in scores.experts] != list(experts):
        logger.info("The samples carry scores of another chain of experts, which do not count.")
        return None
    return scores.lifts


def carry_scores(source: Any, target: Any) -> Any:
    """The target, with the scores of the source, whose samples it has in another form."""
    scores = _SCORES.get(parts_of(source)[0])
    if scores is not None:
        _SCORES[parts_of(target)[0]] = scores
    return target
