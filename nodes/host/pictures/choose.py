"""Choosing among finished samples by every expert's lift, its gain in likelihood by the condition."""

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
from ..run.space_refusals import check_one_space

logger = logging.getLogger(__name__)


def choose_samples(
    experts: Experts, latent: dict[str, Any], count: int, levels: int, seed: int
) -> tuple[dict[str, Any], str]:
    """Keep the samples whose smallest lift is largest.

    If the samples carry the scores of their run, no network is called; else every expert is, at some noise levels.

    Args:
        experts: The chain; experts with a weight need a null, unless there are scores.
        latent: ComfyUI's LATENT of finished samples.
        count: Number of samples to keep.
        levels: Number of noise levels at which to ask the experts.
        seed: Seed of the noise.

    Returns:
        The LATENT of the kept samples, the best first, and all scores as text.

    Raises:
        ValueError: If there is nothing to choose from, or an expert's lift cannot be measured, before any network is
            called; or if predictions are not finite.
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
        logger.warning("Only %d of the %d pictures show every prompt; %d are kept all the same.", lifted, batch, count)
    return _take(latent, kept, batch), _scores(guiding, lifts)


def _measure(guiding: Experts, samples: Any, levels: int, seed: int) -> Tensor:
    """The experts' lifts of the samples, shape (B, N)."""
    for expert in guiding:
        if expert.null is None:
            raise ValueError(
                f"{expert.subject} needs a negative, because its lift is measured against that. Connect null."
            )
    lifts = Lifts(guiding, of_noise=True)
    if not guiding:
        return lifts.of(samples)
    check_one_space(guiding, "Choose Samples", "choose by the experts of the samples' own space")
    # Equal weights and reliabilities, so that every condition and null is asked; masks and windows stay.
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
    """The cost of choosing.

    Attributes:
        rows: Network rows for each sample.
        asked: The conditions and nulls asked, in words.
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
    """A sampler function for ComfyUI that samples nothing: it evaluates the noised latent at every level."""
    sampling = model.inner_model.inner_model.model_sampling
    model.inner_model.measure_with(lifts)
    generator = torch.Generator().manual_seed((extra_args["seed"] or 0) % 2**64)
    options = {
        **extra_args["model_options"],
        "disable_cfg1_optimization": True,
    }  # else no null is asked if the weights sum to 1
    for step, sigma in enumerate(sigmas):
        # The same noise for all samples, so that scores differ only by the samples.
        noise = torch.randn(x.shape[1:], dtype=x.dtype, generator=generator).to(x.device).expand_as(x)
        noisy = sampling.noise_scaling(sigma, noise, model.latent_image, False)
        denoised = model(noisy, sigma * x.new_ones(len(x)), **{**extra_args, "model_options": options})
        if callback is not None:
            callback({"x": noisy, "i": step, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
    found.append(lifts.of(model.latent_image))
    return model.latent_image


def _take(latent: dict[str, Any], kept: Tensor, batch: int) -> dict[str, Any]:
    """A LATENT with some of its samples, their masks and their batch indices."""
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
    """A lift as text; it is infinite if the expert's mask excludes the whole picture."""
    return f"{value:+.4f}" if math.isfinite(value) else "none, outside the mask"
