"""One noise level for experts whose MODELs write x differently (the paper's §7.2).

ComfyUI steps most models in the variance-exploding form x0 + σ·n, rectified-flow models (CONST) in (1 − σ)·x0 + k·σ·n,
with k = 1 for all but a few.
"""

from __future__ import annotations

from typing import Any

import comfy.model_sampling
import torch
from torch import Tensor

from ...mcdm_core.diffusion.schedule import align_noise_level, from_flow, to_flow

FLOW_LIMIT = 1.0 - 1e-6  # at σ = 1 a flow's x holds no signal and its level is infinite in the other form


def is_flow(model_sampling: Any) -> bool:
    """Whether a model's samples are stepped in the rectified-flow form."""
    return isinstance(model_sampling, comfy.model_sampling.CONST)


def starts_from_pictures(model_sampling: Any) -> bool:
    """Whether a model's run starts from a picture and mixes no noise into it, as FlowRVS's; it has no noise levels."""
    kind = getattr(comfy.model_sampling, "IMG_TO_IMG_FLOW", None)
    return kind is not None and isinstance(model_sampling, kind)


def noise_scale(model_sampling: Any) -> float:
    """k, what a model's form multiplies the noise by; 1 where ComfyUI doesn't know of it."""
    return getattr(model_sampling, "noise_scale", 1.0) if is_flow(model_sampling) else 1.0


def signal_scale(sigma: float, model_sampling: Any) -> float:
    """α, what a model's form multiplies x0 by at a noise level."""
    return 1.0 - sigma if is_flow(model_sampling) else 1.0


def unbounded_level(sigma: float, model_sampling: Any) -> float:
    """A model's noise level σ in the variance-exploding form, x0 + σ·n; of a flow, one near infinity at σ = 1."""
    if not is_flow(model_sampling):
        return sigma
    return from_flow(min(sigma, FLOW_LIMIT), noise_scale(model_sampling))


def align(x: Tensor, sigma: Tensor, reference: Any, expert: Any) -> tuple[Tensor, Tensor]:
    """Carry a point of the reference's trajectory to where another expert can be asked about it.

    Args:
        x: Point in the reference's form, shape (B, …).
        sigma: The reference's σ, shape (B,).
        reference: model_sampling of the reference expert.
        expert: model_sampling of the expert to be asked.

    Returns:
        x and σ in the expert's form; the arguments themselves where nothing has to change.
    """
    if expert is reference:
        return x, sigma
    low, high = float(expert.sigma_min), float(expert.sigma_max)
    scale, own_scale = noise_scale(reference), noise_scale(expert)
    same_form = (is_flow(reference), scale) == (is_flow(expert), own_scale)
    if same_form and bool(((sigma >= low) & (sigma <= high)).all()):
        return x, sigma
    if is_flow(expert):
        low, high = from_flow(low, own_scale), from_flow(min(high, FLOW_LIMIT), own_scale)
    rows = sigma.reshape(-1, *[1] * (x.ndim - 1))
    aligned, level = align_noise_level(x, scale * rows, low, high, alpha=1.0 - rows if is_flow(reference) else 1.0)
    if is_flow(expert):
        aligned, level = to_flow(aligned, level, own_scale)
    return aligned.to(x.dtype), level.reshape(sigma.shape).to(sigma.dtype)


def align_levels(sigmas: Tensor, reference: Any, expert: Any) -> Tensor:
    """Noise levels of a run, shape (S,), as another expert meets them; 0 stays 0."""
    aligned, noisy = sigmas.clone(), sigmas > 0  # to the bit where nothing changes: networks look for their own level
    _, aligned[noisy] = align(torch.zeros(int(noisy.sum()), 1, device=sigmas.device), sigmas[noisy], reference, expert)
    return aligned


def same_space(first: Any, second: Any) -> bool:
    """Whether two latent formats mean the same by the same numbers."""
    if first.latent_channels != second.latent_channels or first.latent_dimensions != second.latent_dimensions:
        return False
    if getattr(first, "vae_key", None) != getattr(second, "vae_key", None):
        return False  # latents of VAEs of this pack are none of another's, though all are used as they are
    probe = torch.linspace(-1.0, 1.0, first.latent_channels).reshape(1, -1, *[1] * (first.latent_dimensions))
    return torch.allclose(first.process_in(probe), second.process_in(probe), rtol=1e-4)
