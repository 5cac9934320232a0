"""Latents to square pictures, the tiles of grids, and grids to ComfyUI IMAGEs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ....mcdm_core.pictures.files import to_picture
from ..chain.expert_chain import WiredTerm
from ..comfyui.latents import parts_of

TILE = 256


def check_vae(reference: WiredTerm, vae: Any, latent_image: Any) -> None:
    """Refuse a VAE that cannot decode a product's latents.

    Args:
        reference: The first expert of the product.
        vae: The VAE.
        latent_image: What a run starts from, as in a LATENT; the first part of a nested one is decoded.

    Raises:
        ValueError: If it is made for latents of other channels, or decodes no pictures.
    """
    expected, given = reference.model.get_model_object("latent_format").latent_channels, vae.latent_channels
    if latent_image.is_nested:
        expected = parts_of(latent_image)[0].shape[1]
    if given != expected:
        raise ValueError(
            f"Expected a VAE for latents of {expected} channels, those of {reference.label}, and got one for "
            f"{given}; connect the VAE of the node that loads this expert."
        )
    if getattr(vae, "output_channels", 3) == 2:  # as all of ComfyUI's VAEs of sound have; other packs' may not say
        raise ValueError(
            f"Expected a VAE that decodes pictures and got one of sound; {reference.label} makes nothing that a grid "
            "could show, so sample it without this node."
        )


def decode_tiles(latents: Tensor, vae: Any) -> list[Image.Image]:
    """Decode latents as VAEDecode does.

    Args:
        latents: As in a LATENT, shape (B, C, H, W) or (B, C, T, H, W), or nested: the middle frame of a video and the
            first part of a nested latent are shown.
        vae: The VAE.

    Returns:
        B pictures of TILE × TILE pixels.
    """
    comfy.model_management.throw_exception_if_processing_interrupted()
    images = vae.decode(parts_of(latents)[0])
    if images.ndim == 5:
        images = images[:, images.shape[1] // 2]
    return tiles_of(images)


def tiles_of(images: Tensor) -> list[Image.Image]:
    """An IMAGE, (B, H, W, C) in 0…1, as B pictures of TILE × TILE pixels; gray ones as RGB, others without alpha."""
    colors = images[..., :3].expand(-1, -1, -1, 3)
    return [_fit(to_picture(image.movedim(-1, 0) * 2 - 1)) for image in colors]


def to_image(pictures: Sequence[Image.Image]) -> Tensor:
    """Make an IMAGE, shape (B, H, W, 3), values 0…1, of pictures of one size."""
    return torch.from_numpy(np.stack([np.asarray(picture, dtype=np.float32) / 255 for picture in pictures]))


def _fit(picture: Image.Image) -> Image.Image:
    """Fit a picture of any size into a square tile: small ones keep sharp pixels, large ones are averaged."""
    enlarged = max(picture.size) <= TILE
    method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return ImageOps.pad(picture, (TILE, TILE), method, color="white")
