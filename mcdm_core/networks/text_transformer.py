"""GLIDE's text transformer (Nichol et al., "GLIDE", 2021): token rows to its UNet's text inputs.

In the published files its tensors lie beside those of the UNet. It is a module of its own because it depends only on
the prompt: a run needs one pass of it, not one per step.
"""

from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..system.fields import EXPORT_AGAIN, Between, Width, check_fields


@dataclass(frozen=True)
class TextTransformerConfig:
    """Everything that fixes the architecture; the defaults are the published files'.

    Attributes:
        vocabulary: Rows of the token embedding.
        context_length: Tokens in a row, padding included.
        width: Channels.
        layers: Transformer layers.
        heads: Attention heads; divides `width`.
        pooled_dim: Width of the pooled embedding, that of the UNet's time embedding.
    """

    vocabulary: Annotated[int, Between(1, 1_000_000)] = 50_257
    context_length: Annotated[int, Between(1, 4096)] = 128
    width: Width = 512
    layers: Annotated[int, Between(1, 256)] = 16
    heads: Width = 8
    pooled_dim: Width = 768

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TextTransformerConfig":
        """Inverse of `to_dict`.

        Raises:
            ValueError: A value is unknown, or not of its field's type and range.
        """
        check_fields(cls, values, "the text transformer")
        config = cls(**values)
        check_heads(config.width, config.heads, "the text transformer")
        return config

    def to_dict(self) -> dict:
        """Plain values, fit for JSON."""
        return asdict(self)


def check_heads(width: int, heads: int, owner: str) -> None:
    """Refuse heads that don't divide the width of `owner`, named as in a sentence.

    Raises:
        ValueError: They don't.
    """
    if width % heads:
        raise ValueError(f"heads of {owner} should divide its width, {width}, and is {heads}; {EXPORT_AGAIN}.")


class LayerNorm32(nn.LayerNorm):
    """LayerNorm computed in float32 whatever the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension of x."""
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class SelfAttention(nn.Module):
    """Attention of every token to every token; the channels of `c_qkv` are split into heads first, then q, k and v."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.c_qkv = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, L, width) to the same."""
        qkv = rearrange(self.c_qkv(x), "b l (heads qkv c) -> qkv b heads l c", heads=self.heads, qkv=3)
        return self.c_proj(rearrange(F.scaled_dot_product_attention(*qkv), "b heads l c -> b l (heads c)"))


def _mlp(width: int) -> nn.Sequential:
    """Two linear layers with a GELU between."""
    c_fc, c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
    return nn.Sequential(OrderedDict(c_fc=c_fc, gelu=nn.GELU(), c_proj=c_proj))


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer.

    Args:
        width: Channels.
        attention: Mixes the tokens of (B, L, width).
        mlp: Transforms each token of (B, L, width).
    """

    def __init__(self, width: int, attention: nn.Module, mlp: nn.Module):
        super().__init__()
        self.attn = attention
        self.ln_1 = LayerNorm32(width)
        self.mlp = mlp
        self.ln_2 = LayerNorm32(width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, L, width) to the same."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class TextTransformer(nn.Module):
    """Token and position embedding, transformer, final norm and projection, named as in the published files.

    Args:
        config: The architecture.
    """

    def __init__(self, config: TextTransformerConfig):
        super().__init__()
        self.config = config
        c = config
        self.token_embedding = nn.Embedding(c.vocabulary, c.width)
        self.positional_embedding = nn.Parameter(torch.zeros(c.context_length, c.width))
        self.padding_embedding = nn.Parameter(torch.zeros(c.context_length, c.width))
        layers = (TransformerLayer(c.width, SelfAttention(c.width, c.heads), _mlp(c.width)) for _ in range(c.layers))
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*layers)})
        self.final_ln = LayerNorm32(c.width)
        self.transformer_proj = nn.Linear(c.width, c.pooled_dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode token rows.

        Args:
            tokens: Rows of the token embedding, int64, shape (B, context_length), on any device.
            mask: True where a token is text, shape (B, context_length), on any device. Elsewhere the padding embedding
                takes its place; attention sees all positions. All False is the null condition.

        Returns:
            Tokens for the UNet's attention, shape (B, context_length, width), and the pooled embedding, shape
            (B, pooled_dim), on the device of the weights.

        Raises:
            ValueError: If the rows have another length, or tokens and mask differ in shape.
        """
        length = self.config.context_length
        if tokens.ndim != 2 or tokens.shape[1] != length or mask.shape != tokens.shape:
            raise ValueError(
                f"Expected tokens and mask of shape (B, {length}) and got {tuple(tokens.shape)} and "
                f"{tuple(mask.shape)}; pad the tokens to {length}."
            )
        device = self.positional_embedding.device
        x = self.token_embedding(tokens.to(device)) + self.positional_embedding
        x = torch.where(mask[..., None].to(device), x, self.padding_embedding)
        x = self.final_ln(self.transformer["resblocks"](x))
        return x, self.transformer_proj(x[:, -1])
