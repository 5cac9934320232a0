"""Sampling as ComfyUI's KSampler node does it, with the product's guider."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview

from .chain import Experts
from .guider import ProductGuider


def sample(
    experts: Experts, seed: int, steps: int, sampler_name: str, scheduler: str, latent: dict[str, Any], denoise: float
) -> dict[str, Any]:
    """Sample a product of experts.

    Args:
        experts: The chain; its first expert gives the noise levels.
        seed: Seed of the start noise.
        steps: Sampling steps.
        sampler_name: One of ComfyUI's samplers.
        scheduler: One of ComfyUI's schedulers.
        latent: ComfyUI's LATENT, with its noise mask and batch indices if there are.
        denoise: Share of the noise to add and remove, 0…1.

    Returns:
        The LATENT with new samples.

    Raises:
        ValueError: If the experts cannot be combined; before any network is called.
    """
    guider = ProductGuider(experts)
    model = guider.model_patcher
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    settings = comfy.samplers.KSampler(
        model,
        steps=steps,
        device=model.load_device,
        sampler=sampler_name,
        scheduler=scheduler,
        denoise=denoise,
        model_options=model.model_options,
    )
    result = guider.sample(
        noise,
        samples,
        comfy.samplers.sampler_object(settings.sampler),
        settings.sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(model, steps),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    return {**latent, "samples": result.to(comfy.model_management.intermediate_device())}
