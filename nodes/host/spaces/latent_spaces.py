"""The latent space of a MODEL's samples: which MODELs share one, and what messages call it."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ..chain.expert_chain import ExpertInput, Experts
from ..files.expert_model import ExpertModel


def format_of(patcher: ModelPatcher) -> Any:
    """ComfyUI's latent format of a MODEL's samples."""
    return patcher.get_model_object("latent_format")


def space_indices(experts: Experts) -> list[int]:
    """For each expert the index of its latent space, counted from 0 in the order of the chain."""
    firsts: list[ExpertInput] = []
    indices = []
    for expert in experts:
        index = next((i for i, first in enumerate(firsts) if _share_space(first, expert)), len(firsts))
        if index == len(firsts):
            firsts.append(expert)
        indices.append(index)
    return indices


def _share_space(first: ExpertInput, second: ExpertInput) -> bool:
    if not same_space(format_of(first.model), format_of(second.model)):
        return False
    models = first.model.model, second.model.model
    if not all(isinstance(model, ExpertModel) and model.makes_pictures for model in models):
        return True  # ComfyUI's models of pixels draw in any size, that of the LATENT
    return models[0].image_size == models[1].image_size


def same_space(first: Any, second: Any) -> bool:
    """Whether two latent formats are of one latent space: the same numbers stand for the same picture."""
    if first.latent_channels != second.latent_channels or first.latent_dimensions != second.latent_dimensions:
        return False
    if getattr(first, "vae_key", None) != getattr(second, "vae_key", None):
        return False  # latents of different VAEs of this pack differ, though none of them are scaled
    probe = torch.linspace(-1.0, 1.0, first.latent_channels).reshape(1, -1, *[1] * (first.latent_dimensions))
    return torch.allclose(first.process_in(probe), second.process_in(probe), rtol=1e-4)


def space_name(patcher: ModelPatcher) -> str:
    """What messages call the latent space of a MODEL."""
    latent_format = format_of(patcher)
    vae_key = getattr(latent_format, "vae_key", None)
    of_vae = f" of the VAE {vae_key}" if vae_key else ""
    return f"{type(latent_format).__name__} ({latent_format.latent_channels} channels{of_vae})"
