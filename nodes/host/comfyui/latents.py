"""LATENTs as ComfyUI's sampler nodes take them in and give them out.

A LATENT may be nested: several tensors that one model makes together, such as a video and its sound. ComfyUI samples
them packed, flat and end to end, shape (B, 1, values).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.nested_tensor
import comfy.sample
import comfy.sampler_helpers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

# What ComfyUI writes beside an empty latent: how many pixels, or frames, one of its values stands for.
_RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")


def fit_empty(patcher: ModelPatcher, latent: dict[str, Any]) -> Tensor:
    """The samples of a LATENT. Empty ones get a MODEL's channels and, if the LATENT tells its pixels, the size for it.

    Args:
        patcher: The MODEL to be sampled.
        latent: ComfyUI's LATENT.
    """
    return comfy.sample.fix_empty_latent_channels(patcher, latent["samples"], *map(latent.get, _RATIOS))


def with_samples(latent: dict[str, Any], samples: Tensor) -> dict[str, Any]:
    """A LATENT with new samples, moved to the device where ComfyUI keeps outputs of nodes."""
    kept = {name: value for name, value in latent.items() if name not in _RATIOS}
    return {**kept, "samples": samples.to(comfy.model_management.intermediate_device())}


def parts_of(latent: Any, shapes: Sequence[Sequence[int]] | None = None) -> list[Tensor]:
    """The tensors in a latent; most latents are a single tensor.

    Args:
        latent: A tensor, or ComfyUI's nested one.
        shapes: If it is packed, the shapes of its parts.
    """
    if latent.is_nested:
        return list(latent.unbind())
    parts: list[Tensor] = [latent] if shapes is None else comfy.utils.unpack_latents(latent, shapes)
    return parts


def pack(parts: Sequence[Tensor]) -> Tensor:
    """Tensors as ComfyUI samples them: several packed, one as it is."""
    packed: Tensor = parts[0] if len(parts) == 1 else comfy.utils.pack_latents(parts)[0]
    return packed


def pack_mask(mask: Any, shapes: Sequence[Sequence[int]], device: Any) -> Tensor:
    """A mask of any resolution in the shape of the latent, as ComfyUI samples it.

    Args:
        mask: A tensor for the first part of the latent, with 1 on the other parts, or a nested one.
        shapes: Shapes of the parts.
        device: Device of the result.
    """
    given = parts_of(mask)[: len(shapes)]
    given += [torch.ones(tuple(shape)) for shape in shapes[len(given) :]]
    prepare = comfy.sampler_helpers.prepare_mask
    return pack([prepare(part, shape, device) for part, shape in zip(given, shapes, strict=True)])


def is_one_frame(shape: Sequence[int]) -> bool:
    """Whether samples of this shape are videos of one frame, which are pictures."""
    return len(shape) == 5 and shape[2] == 1


def without_time_axis(x: Tensor) -> Tensor:
    """Samples or pictures that may be videos of one frame, as (B, C, H, W)."""
    return x[:, :, 0] if x.ndim == 5 else x


def concatenate(latents: Sequence[Any]) -> Any:
    """The samples of several LATENTs as one batch."""
    return comfy.nested_tensor.cat_nested(latents) if latents[0].is_nested else torch.cat(list(latents))


def mask_like(mask: Tensor, noise: Tensor, shapes: Sequence[Sequence[int]], device: Any) -> Tensor:
    """A mask of any resolution, in the shape that broadcasts to the noise, with values 0…1.

    Returns:
        Shape (B, 1, H, W). For videos (B, 1, T, H, W): the given masks are those of the frames, interpolated in time as
        well where there are more or fewer than latent frames, and the same for every video of the batch; those of
        single frames are of the pictures. For a packed latent its shape: the mask is that of the first part, and 1 on
        the others, so that it leaves a video's sound alone.
    """
    mask = mask if mask.is_floating_point() else mask.float()  # other packs give masks of booleans
    if is_one_frame(shapes[0]) and mask.ndim < 5:
        mask = mask.reshape(-1, 1, 1, *mask.shape[-2:])
    return pack_mask(mask, shapes, device).clamp(0.0, 1.0).to(noise.dtype)[:, :1]
