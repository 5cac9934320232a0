"""The architecture of a UNet, as a checkpoint describes it."""

from dataclasses import dataclass
from typing import Annotated, Any

from ..system.fields import EXPORT_AGAIN, Between, Length, Width, check_fields

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
        """The architecture that a description gives; lists become tuples.

        Raises:
            ValueError: A name is unknown, a value is not of its field's type and range, or two contradict each other.
        """
        check_fields(cls, values, "the network")
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        config = cls(**fields)
        config.check()
        return config

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
