"""CLIP's text transformer (Radford et al., 2021) in the layout of OpenAI's release, which FaRL shares.

Weights may be stored in half precision; the tower computes in float32 on every device.

FaRL (Zheng et al., "General Facial Representation Learning in a Visual-Linguistic Manner", 2022) is trained on faces;
the paper's face expert is trained on its image embeddings and driven by its text embeddings (§7.3, Eq. 20).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..text.tokenizers import ClipTokenizer
from .text_transformer import LayerNorm32, TransformerLayer


@dataclass(frozen=True)
class ClipTextConfig:
    """Text tower; the defaults are FaRL-Base's.

    Attributes:
        vocabulary: Rows of the token embedding.
        context_length: Tokens in a row.
        width: Channels.
        layers: Transformer layers.
        heads: Attention heads; divides `width`.
        dim: Length of the embedding.
    """

    vocabulary: int = ClipTokenizer.vocabulary
    context_length: int = 77
    width: int = 512
    layers: int = 12
    heads: int = 8
    dim: int = 512


class Linear32(nn.Linear):
    """Linear layer computed in float32 whatever its weights are stored as."""

    def forward(self, x: Tensor) -> Tensor:
        """Float32 x of shape (…, in) to (…, out)."""
        return F.linear(x, self.weight.float(), None if self.bias is None else self.bias.float())


class ClipAttention(nn.Module):
    """Self-attention with parameters named as those of `nn.MultiheadAttention`.

    A token sees only itself and those before it.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Linear32(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, L, width) to the same."""
        q, k, v = F.linear(x, self.in_proj_weight.float(), self.in_proj_bias.float()).chunk(3, dim=-1)
        q, k, v = (rearrange(x, "b l (heads c) -> b heads l c", heads=self.heads) for x in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(rearrange(attended, "b heads l c -> b l (heads c)"))


class ClipMLP(nn.Module):
    """Two linear layers with CLIP's approximation of the GELU between."""

    def __init__(self, width: int):
        super().__init__()
        self.c_fc = Linear32(width, 4 * width)
        self.c_proj = Linear32(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, L, width) to the same."""
        x = self.c_fc(x)
        return self.c_proj(x * torch.sigmoid(1.702 * x))


class ClipTextTower(nn.Module):
    """Captions to embeddings.

    Args:
        config: The architecture.
    """

    def __init__(self, config: ClipTextConfig):
        super().__init__()
        self.config = config
        c = config
        self.tokenizer = ClipTokenizer(c.context_length)
        self.token_embedding = nn.Embedding(c.vocabulary, c.width)
        self.positional_embedding = nn.Parameter(torch.randn(c.context_length, c.width) * 0.01)
        layers = (TransformerLayer(c.width, ClipAttention(c.width, c.heads), ClipMLP(c.width)) for _ in range(c.layers))
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*layers)})
        self.ln_final = LayerNorm32(c.width)
        self.text_projection = nn.Parameter(torch.randn(c.width, c.dim) * c.width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token rows.

        Args:
            tokens: Rows of `ClipTokenizer`, int64, shape (B, context_length). The embedding is read at the first end
                token, the highest id.

        Returns:
            Embeddings, float32, not normalized, shape (B, dim).
        """
        x = self.token_embedding(tokens).float() + self.positional_embedding.float()
        x = self.ln_final(self.transformer["resblocks"](x))
        return x[torch.arange(len(x)), tokens.argmax(dim=1)] @ self.text_projection.float()

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of B captions, of length 1, shape (B, dim); also that of an empty caption."""
        tokens, _ = self.tokenizer(texts)
        return F.normalize(self(tokens.to(self.positional_embedding.device)), dim=1)
