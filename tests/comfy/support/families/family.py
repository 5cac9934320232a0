"""The type of the tables' entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

WIDTH = 16  # of a text token, where nothing fixes it
TOKENS = 5  # of a text
# Of networks that begin with a stream for each of picture and text, Flux's and Hunyuan's.
STREAMS = {"hidden_size": 32, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1}
# Of both networks of Kandinsky 5.
KANDINSKY = {
    "image_model": "kandinsky5",
    "in_visual_dim": 16,
    "out_visual_dim": 16,
    "in_text_dim": WIDTH,
    "in_text_dim2": WIDTH,
    "time_dim": 32,
    "model_dim": 48,
    "ff_dim": 64,
    "visual_embed_dim": 132,
    "num_text_blocks": 1,
    "num_visual_blocks": 1,
    "axes_dims": (4, 6, 6),
}

Draw = Callable[..., Tensor]  # normal values of a shape, from the conditioning's own seed


def nothing(draw: Draw) -> dict[str, Any]:
    return {}


def pooled(width: int) -> Callable[[Draw], dict[str, Any]]:
    """Values of a CONDITIONING whose text encoder pools."""
    return lambda draw: {"pooled_output": draw(1, width)}


def no_pool(draw: Draw) -> dict[str, Any]:
    """Values of a CONDITIONING whose text encoder doesn't pool."""
    return {"pooled_output": None}


def all_tokens(draw: Draw) -> dict[str, Any]:
    """Values of a CONDITIONING whose text encoder masks tokens."""
    return {"attention_mask": torch.ones(1, TOKENS, dtype=torch.long)}


@dataclass(frozen=True)
class Family:
    """One family of networks.

    Attributes:
        unet_config: The configuration that ComfyUI's detection would read off a checkpoint.
        latent: Shape of a latent, without the batch.
        tokens: Shape of a text, without the batch.
        values: The other values of a CONDITIONING.
        extra: Replaces the class's own `unet_extra_config`, which fixes sizes.
        checkpoint: Weights that the class needs beside the network's.
    """

    unet_config: Mapping[str, Any]
    latent: tuple[int, ...]
    tokens: tuple[int, ...] = (TOKENS, WIDTH)
    values: Callable[[Draw], dict[str, Any]] = nothing
    extra: Mapping[str, Any] | None = None
    checkpoint: Callable[[], dict[str, Tensor]] = field(default=dict)
