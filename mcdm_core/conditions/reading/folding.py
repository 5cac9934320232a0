"""Maps at the resolution of pictures, for networks whose samples are smaller: latents of a VAE."""

from einops import rearrange
from torch import Tensor


def fold(maps: Tensor, side: int) -> Tensor:
    """Put every square of `side` × `side` pixels into the channels of one place; nothing is lost.

    Args:
        maps: Shape (B, C, H, W), H and W multiples of `side`.
        side: 1 changes nothing.

    Returns:
        Shape (B, C·side², H/side, W/side): of each channel its pixels side by side, row by row.
    """
    return rearrange(maps, "b c (h y) (w x) -> b (c y x) h w", y=side, x=side)


def unfold(maps: Tensor, side: int) -> Tensor:
    """Inverse of `fold`, of maps (B, C·side², h, w)."""
    return rearrange(maps, "b (c y x) h w -> b c (h y) (w x)", y=side, x=side)
