"""Layers of the CLIP towers. Weights may be stored in half precision; the towers compute in float32 on every device."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Linear32(nn.Linear):
    """Linear layer computed in float32 whatever its weights are stored as."""

    def forward(self, x: Tensor) -> Tensor:
        """Float32 x of shape (…, in) to (…, out)."""
        return F.linear(x, self.weight.float(), None if self.bias is None else self.bias.float())


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool) -> Tensor:
    """Multi-head attention.

    Args:
        q: Queries, shape (B, L, width); the width is split into `heads`.
        k: Keys of the same shape.
        v: Values of the same shape.
        heads: Number of heads.
        causal: Whether a position sees only itself and those before it.

    Returns:
        Shape (B, L, width).
    """
    q, k, v = (rearrange(x, "b l (heads c) -> b heads l c", heads=heads) for x in (q, k, v))
    return rearrange(F.scaled_dot_product_attention(q, k, v, is_causal=causal), "b heads l c -> b l (heads c)")
