"""Building blocks of the ADM UNet (Dhariwal & Nichol, "Diffusion Models Beat GANs", 2021).

Module names follow the published checkpoints (`in_layers.0`, `emb_layers.1`, `qkv`, …), so that their tensors load
unchanged.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

_PERIOD = 10_000.0  # of the slowest wave of an embedding, in timesteps over 2π


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding, cosines first.

    Args:
        t: Timesteps, fractional ones allowed, shape (B,).
        dim: Width of the embedding.

    Returns:
        Float32 tensor of shape (B, dim).
    """
    half = dim // 2
    frequencies = torch.exp(-math.log(_PERIOD) / half * torch.arange(half, dtype=torch.float32, device=t.device))
    angles = t.float()[:, None] * frequencies
    embedding = torch.cat([angles.cos(), angles.sin()], dim=1)
    return F.pad(embedding, (0, dim % 2))


class GroupNorm32(nn.GroupNorm):
    """GroupNorm computed in float32 whatever the dtype of its input, as ADM does."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x of shape (B, C, …)."""
        weight, bias = self.weight, self.bias
        if x.dtype == torch.float32 == weight.dtype:
            return F.group_norm(x, self.num_groups, weight, bias, self.eps)
        return F.group_norm(x.float(), self.num_groups, weight.float(), bias.float(), self.eps).to(x.dtype)


class Upsample(nn.Module):
    """Nearest-neighbour ×2, followed by a convolution unless it is inside a residual block."""

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if with_conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, C, H, W) to (B, C, 2H, 2W)."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Downsample(nn.Module):
    """Halve the resolution: strided convolution, or average pooling inside a residual block."""

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if with_conv else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, C, H, W) to (B, C, H/2, W/2)."""
        return self.op(x)


class ResBlock(nn.Module):
    """Residual block modulated by the time embedding and, in the face model, by a second embedding.

    Args:
        channels: Input channels.
        out_channels: Output channels.
        emb_channels: Width of the time embedding.
        groups: Groups of the norms.
        dropout: Dropout probability before the last convolution.
        scale_shift_norm: Modulate by scale and shift after the norm instead of adding.
        film_dim: Width of the second embedding ("cond_emb" of the paper's face release); None leaves the branch out.
        resample: `Upsample` or `Downsample` to change the resolution inside the block.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        emb_channels: int,
        *,
        groups: int = 32,
        dropout: float = 0.0,
        scale_shift_norm: bool = True,
        film_dim: int | None = None,
        resample: type[Upsample] | type[Downsample] | None = None,
    ):
        super().__init__()
        self.scale_shift_norm = scale_shift_norm
        self.resample = resample(channels, with_conv=False) if resample else nn.Identity()
        self.in_layers = nn.Sequential(
            GroupNorm32(groups, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        modulation = 2 * out_channels if scale_shift_norm else out_channels
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, modulation))
        if film_dim is not None:
            self.cond_emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(film_dim, 2 * out_channels))
        self.out_layers = nn.Sequential(
            GroupNorm32(groups, out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor, film: Tensor | None = None) -> Tensor:
        """Transform features x (B, channels, H, W), given embeddings emb (B, emb_channels) and film (B, film_dim)."""
        norm_in, act_in, conv_in = self.in_layers
        norm_out, *rest_out = self.out_layers
        h = conv_in(self.resample(act_in(norm_in(x))))
        modulation = _project(self.emb_layers, emb).to(h.dtype)[:, :, None, None]
        if self.scale_shift_norm:
            h = _modulate(norm_out(h), modulation)
            if film is not None:
                # The release normalizes a second time, with the same parameters, before the second modulation.
                h = _modulate(norm_out(h), _project(self.cond_emb_layers, film).to(h.dtype)[:, :, None, None])
        else:
            h = norm_out(h + modulation)
        for layer in rest_out:
            h = layer(h)
        return self.skip_connection(self.resample(x)) + h


def _project(layers: nn.Sequential, emb: Tensor) -> Tensor:
    """SiLU and linear layer, in the dtype of its weights: files in half precision keep some of them in float32."""
    act, linear = layers
    return linear(act(emb).to(linear.weight.dtype))


def _modulate(h: Tensor, scale_shift: Tensor) -> Tensor:
    scale, shift = scale_shift.chunk(2, dim=1)
    return h * (1 + scale) + shift


NEW_ORDER = "b (qkv heads c) l -> qkv b heads l c"
OLD_ORDER = "b (heads qkv c) l -> qkv b heads l c"


class AttentionBlock(nn.Module):
    """Self-attention over the pixels of a feature map, which in GLIDE also attends to text tokens.

    Args:
        channels: Feature channels C.
        num_heads: Number of heads.
        new_order: Order of the 3C channels of `qkv`: `NEW_ORDER` (ADM-64) if True, else `OLD_ORDER` (every other
            published file).
        groups: Groups of the norm.
        context_dim: Width of the text tokens whose keys and values precede those of the pixels; None for no text.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        new_order: bool = False,
        groups: int = 32,
        context_dim: int | None = None,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.order = NEW_ORDER if new_order else OLD_ORDER
        self.norm = GroupNorm32(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        if context_dim is not None:
            self.encoder_kv = nn.Conv1d(context_dim, 2 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Attend over the pixels of x (B, C, H, W) and the tokens of context (B, context_dim, L), residually."""
        flat = rearrange(x, "b c h w -> b c (h w)")
        q, k, v = rearrange(self.qkv(self.norm(flat)), self.order, qkv=3, heads=self.num_heads)
        if context is not None:
            text_k, text_v = rearrange(self.encoder_kv(context.to(flat.dtype)), self.order, qkv=2, heads=self.num_heads)
            k, v = torch.cat([text_k, k], dim=2), torch.cat([text_v, v], dim=2)
        h = rearrange(F.scaled_dot_product_attention(q, k, v), "b heads l c -> b (heads c) l")
        return rearrange(flat + self.proj_out(h), "b c (h w) -> b c h w", w=x.shape[-1])
