"""The ADM UNet, with the additions of GLIDE, the paper's face and sketch networks and the shipped small experts.

One class builds every expert; they differ only in their `UNetConfig`. Parameter names are those of the published
checkpoints.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .blocks import AttentionBlock, Downsample, GroupNorm32, ResBlock, Upsample, timestep_embedding
from .unet_config import UNetConfig


class Stage(nn.ModuleList):
    """Layers in sequence, of which only residual blocks take the embeddings, and only attention the text tokens."""

    def __init__(self, *layers: nn.Module):
        super().__init__(layers)

    def forward(self, x: Tensor, emb: Tensor, film: Tensor | None, context: Tensor | None) -> Tensor:
        """Apply the layers to features x (B, C, H, W)."""
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, emb, film)
            elif isinstance(layer, AttentionBlock):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


class UNet(nn.Module):
    """ADM UNet.

    Args:
        config: The architecture.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        c = config
        emb_channels = c.embedding_channels
        self.time_embed = nn.Sequential(
            nn.Linear(c.model_channels, emb_channels), nn.SiLU(), nn.Linear(emb_channels, emb_channels)
        )
        if c.num_classes is not None:
            self.label_emb = nn.Embedding(c.num_classes, emb_channels)
        if c.pooled_dim is not None:
            self.pooled_proj = nn.Linear(c.pooled_dim, emb_channels, bias=False)
        if c.convert_maps:
            self.input_blocks_convert = nn.Conv2d(c.map_channels, c.in_channels, 3, padding=1)

        def residual(
            channels: int, out_channels: int, resample: type[Upsample] | type[Downsample] | None = None
        ) -> ResBlock:
            return ResBlock(
                channels,
                out_channels,
                emb_channels,
                groups=c.norm_groups,
                dropout=c.dropout,
                scale_shift_norm=c.scale_shift_norm,
                film_dim=c.film_dim,
                resample=resample,
            )

        def resampler(kind: type[Upsample] | type[Downsample], channels: int) -> nn.Module:
            return residual(channels, channels, kind) if c.resblock_updown else kind(channels, with_conv=True)

        def attention(channels: int) -> AttentionBlock:
            return AttentionBlock(channels, c.heads(channels), c.new_attention_order, c.norm_groups, c.context_dim)

        widths = c.widths
        map_channels = c.in_channels if c.convert_maps else c.map_channels
        stem_in = (c.in_channels + map_channels + c.low_res_channels) * c.patch**2
        channels = widths[0]
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(stem_in, channels, 3, padding=1))])
        skips = [channels]
        for level, width in enumerate(widths):
            attend = 2**level in c.attention_downsamplings
            for _ in range(c.num_res_blocks):
                layers: list[nn.Module] = [residual(channels, width)] + ([attention(width)] if attend else [])
                self.input_blocks.append(Stage(*layers))
                channels = width
                skips.append(channels)
            if level < len(widths) - 1:
                self.input_blocks.append(Stage(resampler(Downsample, channels)))
                skips.append(channels)

        self.middle_block = Stage(residual(channels, channels), attention(channels), residual(channels, channels))

        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            attend = 2**level in c.attention_downsamplings
            for i in range(c.num_res_blocks + 1):
                layers = [residual(channels + skips.pop(), width), *([attention(width)] if attend else [])]
                channels = width
                if level > 0 and i == c.num_res_blocks:
                    layers.append(resampler(Upsample, channels))
                self.output_blocks.append(Stage(*layers))

        self.out = nn.Sequential(
            GroupNorm32(c.norm_groups, channels),
            nn.SiLU(),
            nn.Conv2d(channels, c.out_channels * c.patch**2, 3, padding=1),
        )

    @property
    def divisor(self) -> int:
        """Number by which height and width of a sample have to be divisible."""
        return self.config.patch * 2 ** (len(self.config.channel_mult) - 1)

    @property
    def reads(self) -> frozenset[str]:
        """Names of the condition's tensors that `forward` can use; it ignores all others.

        One of them may still have no effect: `embedding` beside `labels`, or without `text_active` in the face network.
        """
        c = self.config
        embedded = (c.num_classes, c.context_dim, c.pooled_dim, c.film_dim)
        used = {
            "labels": c.num_classes is not None,
            "maps": c.map_channels > 0,
            "low_res": c.low_res_channels > 0,
            "embedding": any(width is not None for width in embedded),
            "context": c.context_dim is not None,
        }
        return frozenset(name for name, is_used in used.items() if is_used)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        *,
        labels: Tensor | None = None,
        maps: Tensor | None = None,
        low_res: Tensor | None = None,
        embedding: Tensor | None = None,
        context: Tensor | None = None,
        text_active: bool = False,
    ) -> Tensor:
        """Raw network output.

        Args:
            x_t: Noisy image in the variance-preserving form, shape (B, in_channels, H, W).
            t: Original (not respaced) timesteps in 0…999, fractional ones allowed, shape (B,).
            labels: Class indices, shape (B,); needed where the network has classes, unless `embedding` replaces them.
            maps: Concatenated maps, shape (B, map_channels, H, W); None is zeros, the null condition.
            low_res: Picture to enlarge, −1…1, shape (B, low_res_channels, h, w) of any size; needed by upsamplers.
            embedding: Shape (B, film_dim or pooled_dim), None is zeros, the null condition; or 4·model_channels wide:
                an embedding instead of a class's, or the pooled text of a network that reads text tokens.
            context: Text tokens, shape (B, L, context_dim); needed where the network reads them.
            text_active: Whether the face network's second modulation runs, one flag for all rows. It changes the
                result even where the embedding is zero, so it is part of the condition, not derived from the batch.

        Returns:
            Shape (B, out_channels, H, W).

        Raises:
            ValueError: If a condition that the network needs is missing, or maps have another shape.
        """
        c = self.config
        emb = self._time_embedding(t, labels, embedding, context)
        film = None
        if c.film_dim is not None and text_active:
            film = x_t.new_zeros(len(x_t), c.film_dim) if embedding is None else embedding
        if context is not None:
            context = rearrange(context, "b l c -> b c l")  # channels first, for the convolutions

        dtype = _dtype_of(self.input_blocks)
        h = self._stem_input(x_t, maps, low_res).to(dtype)
        skips = []
        for stage in self.input_blocks:
            h = stage(h, emb, film, context)
            skips.append(h)
        h = self.middle_block(h, emb, film, context)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), emb, film, context)
        h = self.out(h.to(_dtype_of(self.out)))
        return F.pixel_shuffle(h, c.patch) if c.patch > 1 else h

    def _time_embedding(
        self, t: Tensor, labels: Tensor | None, embedding: Tensor | None, context: Tensor | None
    ) -> Tensor:
        """Embedding of the timestep plus that of a class or text, shape (B, 4·model_channels)."""
        c = self.config
        dtype = _dtype_of(self.time_embed)
        emb = self.time_embed(timestep_embedding(t, c.model_channels).to(dtype))
        if c.num_classes is not None:
            if labels is not None:
                embedding = self.label_emb(labels)
            if embedding is None:
                raise ValueError("This expert needs a class label for every row and none was given; use Encode Class.")
            return emb + embedding.to(dtype)
        if c.context_dim is not None:
            if context is None or embedding is None:
                raise ValueError("This expert needs text for every row and none was given; use Encode Text.")
            return emb + embedding.to(dtype)
        if c.pooled_dim is not None and embedding is not None:
            return emb + self.pooled_proj(embedding.to(dtype))
        return emb

    def _stem_input(self, x_t: Tensor, maps: Tensor | None, low_res: Tensor | None) -> Tensor:
        c = self.config
        size = x_t.shape[2:]
        parts = [x_t]
        if c.map_channels:
            if maps is None:
                maps = x_t.new_zeros(len(x_t), c.map_channels, *size)
            if maps.shape[1:] != (c.map_channels, *size):
                raise ValueError(
                    f"Expected maps of shape {(c.map_channels, *size)} and got {tuple(maps.shape[1:])}; "
                    "encode them with this expert's encoder."
                )
            maps = maps.to(x_t)
            if c.convert_maps:
                maps = self.input_blocks_convert(maps.to(_dtype_of(self.input_blocks_convert))).to(x_t.dtype)
            parts.append(maps)
        if c.low_res_channels:
            if low_res is None:
                raise ValueError("This upsampler needs a small picture and none was given; use Encode Low Resolution.")
            parts.append(enlarge(low_res.to(x_t), size))
        stem = torch.cat(parts, dim=1)
        return F.pixel_unshuffle(stem, c.patch) if c.patch > 1 else stem


def enlarge(low_res: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a small picture (B, C, h, w) to an upsampler's input (B, C, *size); no change where sizes agree."""
    return F.interpolate(low_res, tuple(size), mode="bilinear", align_corners=False)


def _dtype_of(module: nn.Module) -> torch.dtype:
    """Dtype of a module; files in half precision keep norms, embeddings and output in float32."""
    return next(module.parameters()).dtype
