"""Choosing among finished samples by how far every expert lifts them."""

from __future__ import annotations

import functools
import logging
import math
from dataclasses import replace
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ....mcdm_core.product.evaluation import Evaluation
from ....mcdm_core.product.lifts import Lifts, least_lifts
from ....mcdm_core.sampling.choose import check_choice, choose, level_progress
from ..chain.expert_chain import Experts
from ..comfyui.latents import parts_of, with_samples
from ..comfyui.step_reports import StepReport
from ..run.guider import ProductGuider
from ..run.scores import scores_of

logger = logging.getLogger(__name__)


def choose_samples(
    experts: Experts, latent: dict[str, Any], count: int, levels: int, seed: int
) -> tuple[dict[str, Any], str]:
    """Keep the samples whose smallest lift is largest.

    Where the samples carry the scores of their run, nothing is asked; else every expert is, at some noise levels.

    Args:
        experts: The chain; those of a weight need a null, unless there are scores.
        latent: ComfyUI's LATENT of finished samples.
        count: How many to keep.
        levels: How many noise levels to ask the experts at.
        seed: Seed of the noise.

    Returns:
        The LATENT of those kept, the best first, and all scores as text.

    Raises:
        ValueError: If there is nothing to choose, or the lift of an expert cannot be measured; before any network is
            called, but for predictions that are not finite.
    """
    samples = latent["samples"]
    batch = len(parts_of(samples)[0])
    check_choice(count, batch)
    guiding = tuple(expert for expert in experts if expert.weight != 0)
    lifts = scores_of(samples, experts)
    if lifts is None:
        lifts = _measure(guiding, samples, levels, seed)
    else:
        logger.info("Choosing asked nothing: the samples carry the scores of their run.")
    kept = choose(lifts, count)
    lifted = int((least_lifts(lifts) > 0).sum())
    if lifted < count:
        logger.warning("Every expert lifts %d of the %d pictures; %d are kept all the same.", lifted, batch, count)
    return _take(latent, kept, batch), _scores(guiding, lifts)


def _measure(guiding: Experts, samples: Any, levels: int, seed: int) -> Tensor:
    """How far the experts lift the samples, shape (B, N)."""
    for expert in guiding:
        if expert.null is None:
            raise ValueError(
                f"Expected a null for {expert.label}, against which its lift is measured, and got none; connect its "
                "null."
            )
    lifts = Lifts(guiding, of_noise=True)
    if not guiding:
        return lifts.of(samples)
    # Equal numbers, so that every condition and every null is asked; the masks and windows stay.
    equal: dict[str, Any] = {"weight": 1.0, "reliability": 1.0, "weight_curve": (), "settings": ()}
    cost, found = _Cost(), list[Tensor]()
    guider = ProductGuider(tuple(replace(expert, **equal) for expert in guiding), cost.take)
    sampling = guider.model_patcher.get_model_object("model_sampling")
    sigmas = torch.tensor([float(sampling.percent_to_sigma(progress)) for progress in level_progress(levels)])
    guider.sample(
        comfy.sample.prepare_noise(samples, seed),
        samples,
        comfy.samplers.KSAMPLER(functools.partial(_ask, lifts=lifts, found=found)),
        sigmas,
        callback=latent_preview.prepare_callback(guider.model_patcher, levels),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    logger.info("Choosing took %d rows for each picture: %d noise levels, %s.", cost.rows, levels, cost.asked)
    return found[0]


class _Cost:
    """What choosing asks of networks.

    Attributes:
        rows: Network rows for each sample.
        asked: Of what, in words.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.asked = ""

    def take(self, evaluation: Evaluation) -> None:
        counts = len(evaluation.plan.conditions), len(evaluation.null)
        self.rows += sum(counts)
        self.asked = f"at most {counts[0]} conditions and {counts[1]} nulls at each"


def _ask(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any],
    callback: StepReport | None = None,
    disable: bool | None = None,
    *,
    lifts: Lifts,
    found: list[Tensor],
) -> Tensor:
    """Behind the signature of ComfyUI's sampler functions: asks about the latent at every level, samples nothing."""
    sampling = model.inner_model.inner_model.model_sampling
    model.inner_model.gather(lifts)
    generator = torch.Generator().manual_seed((extra_args["seed"] or 0) % 2**64)
    options = {**extra_args["model_options"], "disable_cfg1_optimization": True}  # or W = 1 would ask for no null
    for step, sigma in enumerate(sigmas):
        # One noise for all, so that scores differ by the samples.
        noise = torch.randn(x.shape[1:], dtype=x.dtype, generator=generator).to(x.device).expand_as(x)
        noisy = sampling.noise_scaling(sigma, noise, model.latent_image, False)
        denoised = model(noisy, sigma * x.new_ones(len(x)), **{**extra_args, "model_options": options})
        if callback is not None:
            callback({"x": noisy, "i": step, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
    found.append(lifts.of(model.latent_image))
    return model.latent_image


def _take(latent: dict[str, Any], kept: Tensor, batch: int) -> dict[str, Any]:
    """The LATENT of some of its samples, with their masks and places in the batch."""
    samples, indices = latent["samples"], kept.tolist()
    chosen = [part[indices] for part in parts_of(samples)]
    found = with_samples(latent, type(samples)(chosen) if getattr(samples, "is_nested", False) else chosen[0])
    mask, places = latent.get("noise_mask"), latent.get("batch_index")
    if isinstance(mask, Tensor) and len(mask) == batch:
        found["noise_mask"] = mask[indices]
    if places is not None and len(places) == batch:
        found["batch_index"] = [places[i] for i in indices]
    return found


def _scores(guiding: Experts, lifts: Tensor) -> str:
    """A line for each sample, the best first."""
    lines, least = [], least_lifts(lifts).tolist()
    for index in choose(lifts, len(lifts)).tolist():
        own = ", ".join(f"{e.label} {_lift(value)}" for e, value in zip(guiding, lifts[index].tolist(), strict=True))
        said = f"smallest lift {_lift(least[index])} ({own})" if math.isfinite(least[index]) else "outside every mask"
        lines.append(f"picture {index + 1}: {said}")
    return "\n".join(lines)


def _lift(value: float) -> str:
    """A lift as text; infinite is that of an expert whose mask leaves out the whole picture."""
    return f"{value:+.4f}" if math.isfinite(value) else "none, outside the mask"
