"""Sampling as ComfyUI's KSampler node does it, with the product's guider."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
from torch import Tensor

from ..chain.expert_chain import Experts
from ..chain.titles import shown_names
from ..comfyui.latents import fit_empty, with_samples
from .guider import ProductGuider
from .scores import carry_scores

logger = logging.getLogger(__name__)

_NOISY = ("ancestral", "sde", "ddpm", "lcm", "seeds", "sa_solver")  # in the names of samplers that add noise


class Widgets(NamedTuple):
    """The widgets of KSampler beside the seed.

    Attributes:
        steps: Sampling steps.
        sampler_name: One of ComfyUI's samplers.
        scheduler: One of ComfyUI's schedulers.
        denoise: Part of the noise to add and remove, 0…1.
    """

    steps: int
    sampler_name: str
    scheduler: str
    denoise: float


def warn_of_sampler(experts: Experts, widgets: Widgets) -> None:
    """Say so where an expert wants noise at every step, and the sampler adds none.

    Args:
        experts: The chain.
        widgets: How it is sampled.
    """
    names = zip(shown_names(experts), experts, strict=True)
    wanting = [name for name, expert in names if getattr(expert.model.model, "wants_noise", False)]
    if wanting and not any(part in widgets.sampler_name for part in _NOISY):
        logger.warning(
            "%s follows its caption better with noise added at every step, and the sampler %s adds none; choose "
            "euler_ancestral.",
            wanting[0][:1].upper() + wanting[0][1:],
            widgets.sampler_name,
        )


def prepare(
    guider: ProductGuider, seed: int, widgets: Widgets, latent: dict[str, Any]
) -> tuple[Tensor, Tensor, comfy.samplers.KSampler]:
    """What a run is sampled with.

    Args:
        guider: The product; its first expert gives the noise levels.
        seed: Seed of the start noise.
        widgets: How to sample.
        latent: ComfyUI's LATENT, with its batch indices if there are.

    Returns:
        The noise and the latent, of the same shape, and ComfyUI's KSampler, which has the `sigmas`.
    """
    patcher = guider.model_patcher
    latent_image = fit_empty(patcher, latent)
    noise = comfy.sample.prepare_noise(latent_image, seed, latent.get("batch_index"))
    ksampler = comfy.samplers.KSampler(
        patcher,
        steps=widgets.steps,
        device=patcher.load_device,
        sampler=widgets.sampler_name,
        scheduler=widgets.scheduler,
        denoise=widgets.denoise,
        model_options=patcher.model_options,
    )
    return noise, latent_image, ksampler


def sample(
    guider: ProductGuider,
    seed: int,
    widgets: Widgets,
    latent: dict[str, Any],
    callback: Callable[[int, Tensor, Tensor, int], None] | None = None,
) -> dict[str, Any]:
    """Sample a product of experts.

    Args:
        guider: The product; its first expert gives the noise levels.
        seed: Seed of the start noise.
        widgets: How to sample.
        latent: ComfyUI's LATENT, with its noise mask and batch indices if there are.
        callback: Is told of each step, as ComfyUI's; None shows progress and previews of this run.

    Returns:
        The LATENT with new samples.

    Raises:
        ValueError: If the experts cannot be combined; before any network is called.
    """
    noise, latent_image, ksampler = prepare(guider, seed, widgets, latent)
    result = guider.sample(
        noise,
        latent_image,
        comfy.samplers.sampler_object(ksampler.sampler),
        ksampler.sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=callback or latent_preview.prepare_callback(guider.model_patcher, widgets.steps),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    made = result.to(dtype=comfy.model_management.intermediate_dtype())  # as KSampler's output
    return with_samples(latent, carry_scores(result, made))
