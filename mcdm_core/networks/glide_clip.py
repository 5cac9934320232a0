"""GLIDE's noised CLIP (Nichol et al., 2021): a text tower, and an image tower that also reads the timestep.

Module and parameter names are those of the published files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..text.tokenizers import ClipTokenizer
from .clip import ClipImageConfig, ClipTextConfig
from .clip_layers import attend

# For pictures in 0…255.
CHANNEL_MEANS = (122.77093945, 116.74601272, 104.09373519)
CHANNEL_STDS = (68.50053285, 66.63215831, 70.32316309)


@dataclass(frozen=True)
class GlideClipTextConfig(ClipTextConfig):
    """Text tower; the defaults are the published file's. The tokenizer uses the first 49 408 ids of its vocabulary."""

    vocabulary: int = 65_536


@dataclass(frozen=True)
class GlideClipImageConfig(ClipImageConfig):
    """Image tower; the defaults are the published file's.

    Attributes:
        timesteps: Rows of the timestep embedding.
    """

    image_size: int = 64
    patch_size: int = 4
    timesteps: int = 1000


class Norm(nn.Module):
    """LayerNorm in float32 with gain `g` and bias `b`."""

    def __init__(self, width: int):
        super().__init__()
        self.g = nn.Parameter(torch.ones(width))
        self.b = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension of x."""
        return F.layer_norm(x, self.g.shape, self.g.float(), self.b.float())


class Affine(nn.Module):
    """Linear layer in float32 with weight `w` and bias `b`."""

    def __init__(self, width_in: int, width_out: int, bias: bool = True):
        super().__init__()
        self.w = nn.Parameter(torch.randn(width_out, width_in) * width_in**-0.5)
        self.b = nn.Parameter(torch.zeros(width_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, width_in) to (…, width_out)."""
        return F.linear(x, self.w.float(), None if self.b is None else self.b.float())


class Attention(nn.Module):
    """Pre-norm self-attention, residual; keys have no bias."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.ln = Norm(width)
        self.f_q = Affine(width, width)
        self.f_k = Affine(width, width, bias=False)
        self.f_v = Affine(width, width)
        self.f_c = Affine(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, L, width) to the same."""
        h = self.ln(x)
        return x + self.f_c(attend(self.f_q(h), self.f_k(h), self.f_v(h), self.heads, self.causal))


class MLP(nn.Module):
    """Pre-norm MLP, residual."""

    def __init__(self, width: int):
        super().__init__()
        self.ln = Norm(width)
        self.f_1 = Affine(width, 4 * width)
        self.f_2 = Affine(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, L, width) to the same."""
        return x + self.f_2(F.gelu(self.f_1(self.ln(x))))


class Block(nn.Module):
    """A transformer layer."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.f_attn = Attention(width, heads, causal)
        self.f_mlp = MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, L, width) to the same."""
        return self.f_mlp(self.f_attn(x))


class TextInput(nn.Module):
    """Token and position embedding."""

    def __init__(self, config: GlideClipTextConfig):
        super().__init__()
        self.w_voc = nn.Parameter(torch.randn(config.vocabulary, config.width) * 0.02)
        self.w_pos = nn.Parameter(torch.randn(config.context_length, config.width) * 0.01)

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids of shape (B, L) to (B, L, width)."""
        return F.embedding(tokens, self.w_voc).float() + self.w_pos.float()


class ImageInput(nn.Module):
    """Embedding of the timestep and of patches, position embedding and norm."""

    def __init__(self, config: GlideClipImageConfig):
        super().__init__()
        self.patch_size = config.patch_size
        tokens = (config.image_size // config.patch_size) ** 2 + 1
        scale = config.width**-0.5
        patch = (config.patch_size, config.patch_size)
        self.w_t = nn.Parameter(torch.randn(config.timesteps, config.width) * scale)
        self.patch_proj = nn.Parameter(torch.randn(config.width, 3, *patch) * math.sqrt(2) * scale / config.patch_size)
        self.w_pos = nn.Parameter(torch.randn(tokens, config.width) * scale)
        self.ln = Norm(config.width)

    def forward(self, images: Tensor, t: Tensor) -> Tensor:
        """Pictures in −1…1, (B, 3, H, W), and timesteps, int64, (B,), to (B, 1 + patches, width)."""
        means, stds = (images.new_tensor(values).view(3, 1, 1) for values in (CHANNEL_MEANS, CHANNEL_STDS))
        pixels = ((images + 1) * 127.5 - means) / stds
        patches = F.conv2d(pixels, self.patch_proj.float(), stride=self.patch_size)
        patches = rearrange(patches, "b c h w -> b (h w) c")
        noise = rearrange(F.embedding(t, self.w_t).float(), "b c -> b 1 c")
        return self.ln(torch.cat([noise, patches], dim=1) + self.w_pos.float())


class Output(nn.Module):
    """Norm and projection."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.ln = Norm(width)
        self.f = Affine(width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, width) to (B, dim)."""
        return self.f(self.ln(x))


def _blocks(first: nn.Module, config: GlideClipTextConfig | GlideClipImageConfig, causal: bool) -> nn.ModuleDict:
    layers = {f"block_{i}": Block(config.width, config.heads, causal) for i in range(config.layers)}
    return nn.ModuleDict({"input": first, **layers, "output": Output(config.width, config.dim)})


class GlideClipTextTower(nn.Module):
    """Captions to embeddings.

    Args:
        config: The architecture.
    """

    def __init__(self, config: GlideClipTextConfig):
        super().__init__()
        self.config = config
        self.tokenizer = ClipTokenizer(config.context_length)
        self.blocks = _blocks(TextInput(config), config, causal=True)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Embed token rows.

        Args:
            tokens: Rows of `ClipTokenizer`, int64, shape (B, context_length).
            lengths: Tokens in each row, start and end included, int64, shape (B,).

        Returns:
            Embeddings, float32, not normalized, shape (B, dim).
        """
        x = self.blocks["input"](tokens)
        for i in range(self.config.layers):
            x = self.blocks[f"block_{i}"](x)
        return self.blocks["output"](x[torch.arange(len(x)), lengths - 1])

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of B captions, of length 1, shape (B, dim)."""
        device = next(self.parameters()).device
        tokens, lengths = (rows.to(device) for rows in self.tokenizer(texts))
        return F.normalize(self(tokens, lengths), dim=1)


class GlideClipImageTower(nn.Module):
    """Noisy pictures to embeddings.

    Args:
        config: The architecture.
    """

    def __init__(self, config: GlideClipImageConfig):
        super().__init__()
        self.config = config
        self.blocks = _blocks(ImageInput(config), config, causal=False)

    def forward(self, images: Tensor, t: Tensor) -> Tensor:
        """Embed noisy pictures.

        Args:
            images: α_t·x0 + σ_t·n with x0 in −1…1, shape (B, 3, image_size, image_size).
            t: Timesteps of GLIDE's cosine schedule, 0…999, int64, shape (B,).

        Returns:
            Embeddings, float32, not normalized, shape (B, dim).

        Raises:
            ValueError: If the pictures have another size.
        """
        size = self.config.image_size
        if images.shape[1:] != (3, size, size):
            raise ValueError(
                f"GLIDE's CLIP reads pictures of shape (B, 3, {size}, {size}) and got {tuple(images.shape)}; resize "
                "them before they are noised."
            )
        x = self.blocks["input"](images.float(), t)
        for i in range(self.config.layers):
            x = self.blocks[f"block_{i}"](x)
        return self.blocks["output"](x[:, 0])

    def encode(self, images: Tensor, t: Tensor) -> Tensor:
        """As `forward`, but of length 1; dot products with `GlideClipTextTower.encode` are cosine similarities."""
        return F.normalize(self(images, t), dim=1)
