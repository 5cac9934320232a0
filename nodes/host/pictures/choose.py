"""Choosing among finished samples by every expert's score, the gain in likelihood by its condition."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from ....mcdm_core.product.methods.lift_scores import least_scores
from ....mcdm_core.sampling.choose import check_choice, choose, told_choice
from ..chain.expert_chain import Experts
from ..comfyui.latents import parts_of, with_samples
from ..run.scores import scores_of

logger = logging.getLogger(__name__)

NO_SCORES = (
    "Expected samples that carry the scores of this chain's run and got some that don't; turn `scores` on where they "
    "are sampled, and connect that node's latent as it comes."
)


def choose_samples(experts: Experts, latent: dict[str, Any], count: int) -> tuple[dict[str, Any], str]:
    """Keep the samples whose smallest score is largest; no network is called.

    Args:
        experts: The chain.
        latent: ComfyUI's LATENT of finished samples, with the scores of their run.
        count: Number of samples to keep.

    Returns:
        The LATENT of the kept samples, the best first, and all scores as text.

    Raises:
        ValueError: If there is nothing to choose from, or the samples carry no scores of this chain.
    """
    samples = latent["samples"]
    batch = len(parts_of(samples)[0])
    check_choice(count, batch)
    labels = [expert.label for expert in experts if expert.weight != 0]
    scores = scores_of(samples, experts)
    if scores is None:
        raise ValueError(NO_SCORES)
    kept = choose(scores, count)
    matching = int((least_scores(scores) > 0).sum())
    if matching < count:
        logger.warning(
            "Only %d of the %d pictures show every prompt; %d are kept all the same.", matching, batch, count
        )
    return _take(latent, kept, batch), told_choice(labels, scores)


def _take(latent: dict[str, Any], kept: Tensor, batch: int) -> dict[str, Any]:
    """A LATENT with some of its samples, their masks and their batch indices."""
    samples, indices = latent["samples"], kept.tolist()
    parts = [part[indices] for part in parts_of(samples)]
    chosen = with_samples(latent, type(samples)(parts) if samples.is_nested else parts[0])
    mask, batch_index = latent.get("noise_mask"), latent.get("batch_index")
    if isinstance(mask, Tensor) and len(mask) == batch:
        chosen["noise_mask"] = mask[indices]
    if batch_index is not None and len(batch_index) == batch:
        chosen["batch_index"] = [batch_index[i] for i in indices]
    return chosen
