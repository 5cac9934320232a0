"""The ADM UNet, with the additions of GLIDE, the paper's face and sketch networks and the shipped small experts.

One class builds every expert; they differ only in their `UNetConfig`. Parameter names are those of the published
checkpoints.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..system.fields import EXPORT_AGAIN, Between, Length, Width, check_fields
from .blocks import AttentionBlock, Downsample, GroupNorm32, ResBlock, Upsample, timestep_embedding

_Channels = Annotated[int, Between(1, 128)]
_BLOCK_TENSORS = 10  # tensors of the smallest residual block


@dataclass(frozen=True)
class UNetConfig:
    """Everything that fixes the architecture.

    Attributes:
        in_channels: Channels of the noisy image x_t.
        out_channels: Channels of the output; twice `in_channels` when the variance is learned.
        model_channels: Base width ("mc").
        num_res_blocks: Residual blocks per level.
        channel_mult: Width of each level as a multiple of `model_channels`; the length is the number of levels.
        attention_downsamplings: Downsampling factors (counted from the stem) at which attention is placed.
        num_heads: Attention heads, unless `num_head_channels` is set.
        num_head_channels: Channels per head; overrides `num_heads`.
        new_attention_order: See `AttentionBlock`.
        scale_shift_norm: See `ResBlock`.
        resblock_updown: Resample inside residual blocks rather than by strided convolutions.
        norm_groups: Groups of every norm. With as many groups as channels, a norm erases each channel's mean, which
            the network then encodes in a bright speck; narrow networks need fewer groups.
        dropout: Dropout probability while training.
        num_classes: Size of the class embedding, None for none.
        map_channels: Channels of the maps concatenated to x_t (segmentation, sketch, inpainting), 0 for none.
        low_res_channels: Channels of the small picture that is enlarged and concatenated last (upsamplers), 0 for none.
        convert_maps: The paper's face network first convolves its maps down to `in_channels`.
        film_dim: Width of an embedding that modulates every residual block (the face network's branch).
        pooled_dim: Width of an embedding projected and added to the time embedding.
        context_dim: Width of the text tokens that attention reads (GLIDE); their pooled embedding, as wide as the time
            embedding, is added to it.
        patch: Pixel-unshuffle factor of the stem; 1 is plain ADM.
    """

    in_channels: _Channels = 3
    out_channels: _Channels = 3
    model_channels: Width = 64
    num_res_blocks: Annotated[int, Between(1, 100)] = 2
    channel_mult: Annotated[tuple[Annotated[float, Between(1 / 64, 64)], ...], Length(1, 10)] = (1, 2, 3, 4)
    attention_downsamplings: Annotated[tuple[Annotated[int, Between(1, 1024)], ...], Length(0, 10)] = (2, 4, 8)
    num_heads: Width = 4
    num_head_channels: Width | None = None
    new_attention_order: bool = False
    scale_shift_norm: bool = True
    resblock_updown: bool = True
    norm_groups: Width = 32
    dropout: Annotated[float, Between(0, 1)] = 0.0
    num_classes: Annotated[int, Between(1, 1_000_000)] | None = None
    map_channels: Annotated[int, Between(0, 4096)] = 0
    low_res_channels: Annotated[int, Between(0, 128)] = 0
    convert_maps: bool = False
    film_dim: Width | None = None
    pooled_dim: Width | None = None
    context_dim: Width | None = None
    patch: Annotated[int, Between(1, 16)] = 1

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "UNetConfig":
        """Inverse of `to_dict`; lists become tuples.

        Raises:
            ValueError: A name is unknown, a value is not of its field's type and range, or two contradict each other.
        """
        check_fields(cls, values, "the network")
        settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        config = cls(**settings)
        config.check()
        return config

    def to_dict(self) -> dict:
        """Plain values, ready for JSON or TOML."""
        return asdict(self)

    @property
    def embedding_channels(self) -> int:
        """Width of the time embedding and of the embeddings added to it."""
        return 4 * self.model_channels

    @property
    def widths(self) -> list[int]:
        """Channels of each level, the finest first."""
        return [int(mult * self.model_channels) for mult in self.channel_mult]

    @property
    def fewest_tensors(self) -> int:
        """A lower bound of the network's number of tensors: those of its residual blocks."""
        return _BLOCK_TENSORS * (2 * self.num_res_blocks + 1) * len(self.channel_mult)

    def check(self, remedy: str = EXPORT_AGAIN) -> None:
        """Refuse numbers that don't divide each other as the layers need.

        Args:
            remedy: Advice at the end of messages.

        Raises:
            ValueError: Some don't; the message names them.
        """
        last = len(self.channel_mult) - 1
        for level, width in enumerate(self.widths):
            if width < 1 or width % self.norm_groups:
                raise ValueError(
                    f"norm_groups of the network should divide the {width} channels of level {level} evenly and is "
                    f"{self.norm_groups}; {remedy}."
                )
            name = "num_head_channels" if self.num_head_channels else "num_heads"
            heads = self.heads(width)
            per_head = self.num_head_channels or 1
            if (level == last or 2**level in self.attention_downsamplings) and (
                heads < 1 or width % heads or width % per_head
            ):
                raise ValueError(
                    f"{name} of the network should divide the {width} channels of level {level} evenly and is "
                    f"{getattr(self, name)}; {remedy}."
                )
        if self.convert_maps and not self.map_channels:
            raise ValueError(f"map_channels of the network should not be 0 where convert_maps is; {remedy}.")

    def heads(self, channels: int) -> int:
        """Number of attention heads at a level of the given width."""
        return channels // self.num_head_channels if self.num_head_channels else self.num_heads


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
