"""CLIP's text and image transformer (Radford et al., 2021) in the layout of OpenAI's release, which FaRL shares.

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
from .clip_layers import Linear32, attend
from .text_transformer import LayerNorm32, TransformerLayer

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


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


@dataclass(frozen=True)
class ClipImageConfig:
    """Image tower; the defaults are FaRL-Base's.

    Attributes:
        image_size: Height and width of pictures; a multiple of `patch_size`.
        patch_size: Height and width of the patches, which are the transformer's tokens.
        width: Channels.
        layers: Transformer layers.
        heads: Attention heads; divides `width`.
        dim: Length of the embedding.
    """

    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    dim: int = 512


class ClipAttention(nn.Module):
    """Self-attention with parameters named as those of `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Linear32(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, L, width) to the same."""
        q, k, v = F.linear(x, self.in_proj_weight.float(), self.in_proj_bias.float()).chunk(3, dim=-1)
        return self.out_proj(attend(q, k, v, self.heads, self.causal))


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


def _transformer(width: int, layers: int, heads: int, causal: bool) -> nn.ModuleDict:
    stack = (TransformerLayer(width, ClipAttention(width, heads, causal), ClipMLP(width)) for _ in range(layers))
    return nn.ModuleDict({"resblocks": nn.Sequential(*stack)})


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
        self.transformer = _transformer(c.width, c.layers, c.heads, causal=True)
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


class ClipImageTower(nn.Module):
    """Pictures to embeddings.

    Args:
        config: The architecture.
    """

    def __init__(self, config: ClipImageConfig):
        super().__init__()
        self.config = config
        c = config
        tokens = (c.image_size // c.patch_size) ** 2 + 1
        scale = c.width**-0.5
        self.conv1 = nn.Conv2d(3, c.width, c.patch_size, stride=c.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(c.width) * scale)
        self.positional_embedding = nn.Parameter(torch.randn(tokens, c.width) * scale)
        self.ln_pre = LayerNorm32(c.width)
        self.transformer = _transformer(c.width, c.layers, c.heads, causal=False)
        self.ln_post = LayerNorm32(c.width)
        self.proj = nn.Parameter(torch.randn(c.width, c.dim) * scale)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pictures that are ready for the network.

        Args:
            pixels: (RGB in 0…1 − MEAN) / STD, shape (B, 3, image_size, image_size).

        Returns:
            Embeddings, float32, not normalized, shape (B, dim).
        """
        patches = F.conv2d(pixels.float(), self.conv1.weight.float(), stride=self.config.patch_size)
        patches = rearrange(patches, "b c h w -> b (h w) c")
        first = self.class_embedding.float().expand(len(patches), 1, -1)
        x = torch.cat([first, patches], dim=1) + self.positional_embedding.float()
        x = self.transformer["resblocks"](self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj.float()

    def encode(self, images: Tensor) -> Tensor:
        """Embed pictures of any size: their middle square, resized.

        Args:
            images: RGB, −1…1, shape (B, 3, H, W).

        Returns:
            Embeddings of length 1, float32, shape (B, dim).
        """
        side, size = min(images.shape[2:]), self.config.image_size
        top, left = ((length - side) // 2 for length in images.shape[2:])
        square = (images[:, :, top : top + side, left : left + side].float() + 1) / 2
        if side != size:
            square = F.interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (square.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        return F.normalize(self((square - mean) / std), dim=1)
