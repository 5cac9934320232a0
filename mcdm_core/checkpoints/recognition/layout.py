"""Reads a network's architecture from the names and shapes of a file's tensors.

They don't show head counts, the attention's channel order and the noise schedule.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ...networks import TextTransformer, TextTransformerConfig, UNet, UNetConfig
from ...networks.blank import without_weights
from ..contents import Entry

Shapes = Mapping[str, tuple[int, ...]]

TEXT_HEAD_CHANNELS = 64  # of GLIDE's text transformer, and of CLIP's before it
_IMAGE_CHANNELS = 3


@dataclass(frozen=True)
class Layout:
    """Architecture of a diffusion file.

    Attributes:
        network: The UNet; tensors don't show its fields `num_heads`, `num_head_channels`, `new_attention_order` and
            `dropout`.
        text: GLIDE's text transformer, None for none; tensors don't show its `heads`.
    """

    network: UNetConfig
    text: TextTransformerConfig | None = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all tensors, as in the published files.

        Raises:
            ValueError: If no such network can be built, because a width is not a multiple of 32, say.
        """
        with without_weights():
            modules = [UNet(self.network), *([TextTransformer(self.text)] if self.text else [])]
        return {name: tuple(tensor.shape) for module in modules for name, tensor in module.state_dict().items()}

    def told_by_tensors(self) -> "Layout":
        """The same with neutral values in the fields that tensors don't show, for comparison."""
        network = replace(self.network, num_heads=1, num_head_channels=None, new_attention_order=False, dropout=0.0)
        return Layout(network, self.text and replace(self.text, heads=1))


def shapes_of(tensors: Mapping[str, Tensor] | Mapping[str, Entry]) -> dict[str, tuple[int, ...]]:
    """Shapes of tensors, or of a header's entries, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def read_layout(shapes: Shapes) -> Layout | None:
    """Read the architecture of a network with ADM's layout; None for tensors of no such network.

    Only some tensors are used; compare `Layout.shapes` with the file's to check the others.
    """
    try:
        network = _read_network(shapes)
        text = _read_text(shapes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        return None
    learned_or_fixed_variance = (2 * _IMAGE_CHANNELS, _IMAGE_CHANNELS)
    return Layout(network, text) if network.out_channels in learned_or_fixed_variance else None


def _read_network(shapes: Shapes) -> UNetConfig:
    model_channels = shapes["time_embed.0.weight"][1]
    blocks = len({name.split(".")[1] for name in shapes if name.startswith("output_blocks.")})
    # Every level but the highest ends with an upsampling layer, which follows a block and perhaps attention.
    per_level = next((i + 1 for i in range(blocks) if _upsamples(shapes, i)), blocks)
    firsts = range(1, blocks, per_level)
    widths = [shapes[f"input_blocks.{first}.0.in_layers.2.weight"][0] for first in firsts]
    attends = [f"input_blocks.{first}.1.qkv.weight" in shapes for first in firsts]
    attention = "middle_block.1.encoder_kv.weight"
    film = "input_blocks.1.0.cond_emb_layers.1.weight"
    return UNetConfig(
        in_channels=_IMAGE_CHANNELS,
        out_channels=shapes["out.2.weight"][0],
        model_channels=model_channels,
        num_res_blocks=per_level - 1,
        channel_mult=tuple(_multiple(width, model_channels) for width in widths),
        attention_downsamplings=tuple(2**level for level, attending in enumerate(attends) if attending),
        scale_shift_norm=shapes["input_blocks.1.0.emb_layers.1.weight"][0] == 2 * widths[0],
        resblock_updown=not any(name.endswith(".op.weight") for name in shapes),
        num_classes=shapes["label_emb.weight"][0] if "label_emb.weight" in shapes else None,
        film_dim=shapes[film][1] if film in shapes else None,
        context_dim=shapes[attention][1] if attention in shapes else None,
        **_read_inputs(shapes),
    )


def _multiple(width: int, model_channels: int) -> float:
    """The factor from which `UNet`, which rounds down, gets exactly this width."""
    mult = width / model_channels
    return mult if int(mult * model_channels) == width else math.nextafter(mult, math.inf)


def _upsamples(shapes: Shapes, block: int) -> bool:
    layers = (f"output_blocks.{block}.{i}.{name}" for i in (1, 2) for name in ("in_layers.0.weight", "conv.weight"))
    return any(layer in shapes for layer in layers)


def _read_inputs(shapes: Shapes) -> dict:
    """Channels concatenated to x_t; other inputs of the network tell a picture to enlarge from a sketch."""
    convert = shapes.get("input_blocks_convert.weight")
    if convert is not None:
        return {"map_channels": convert[1], "convert_maps": True}
    extra = shapes["input_blocks.0.0.weight"][1] - _IMAGE_CHANNELS
    if extra < 0:
        raise ValueError("The stem reads fewer channels than a picture has.")
    inpainting = _IMAGE_CHANNELS + 1  # the known part and the mask
    if "transformer_proj.weight" in shapes:
        low_res = _IMAGE_CHANNELS if extra in (_IMAGE_CHANNELS, _IMAGE_CHANNELS + inpainting) else 0
    else:
        low_res = _IMAGE_CHANNELS if extra == _IMAGE_CHANNELS and "label_emb.weight" in shapes else 0
    return {"map_channels": extra - low_res, "low_res_channels": low_res}


def _read_text(shapes: Shapes) -> TextTransformerConfig | None:
    if "transformer_proj.weight" not in shapes:
        return None
    context_length, width = shapes["positional_embedding"]
    layers = {name.split(".")[2] for name in shapes if name.startswith("transformer.resblocks.")}
    return TextTransformerConfig(
        vocabulary=shapes["token_embedding.weight"][0],
        context_length=context_length,
        width=width,
        layers=len(layers),
        heads=max(1, width // TEXT_HEAD_CHANNELS),
        pooled_dim=shapes["transformer_proj.weight"][0],
    )
