"""Folds maps at the resolution of pictures into channels, for networks of smaller samples: latents of a VAE."""

from einops import rearrange
from torch import Tensor


def fold(maps: Tensor, side: int) -> Tensor:
    """Move every square of `side` × `side` pixels into the channels of one pixel (pixel-unshuffle).

    Args:
        maps: Shape (B, C, H, W), H and W multiples of `side`.
        side: 1 changes nothing.

    Returns:
        Shape (B, C·side², H/side, W/side); the pixels of a square, row by row, are side² channels in sequence.
    """
    return rearrange(maps, "b c (h y) (w x) -> b (c y x) h w", y=side, x=side)


def unfold(maps: Tensor, side: int) -> Tensor:
    """Inverse of `fold`, of maps (B, C·side², h, w)."""
    return rearrange(maps, "b (c y x) h w -> b c (h y) (w x)", y=side, x=side)
