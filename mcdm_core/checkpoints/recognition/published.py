"""The published diffusion files, with everything that their tensors don't show."""

from dataclasses import dataclass, replace

from ...networks import TextTransformerConfig, UNetConfig
from .layout import Layout

_ADM = {"source": "openai/guided-diffusion", "licence": "MIT; the model card asks not to deploy it commercially"}
_GLIDE = {"source": "openai/glide-text2im", "licence": "MIT"}
_RELEASE = {"source": "Nithin-GK/UniteandConquer", "licence": "Apache-2.0"}


@dataclass(frozen=True)
class PublishedFile:
    """One published file.

    Attributes:
        name: Its name, without the extension.
        layout: Complete architecture.
        schedule: Name for `Schedule.named`.
        card: Where it comes from, and under which licence.
    """

    name: str
    layout: Layout
    schedule: str
    card: dict


# Attention is at 32, 16 and 8 pixels everywhere but in the 512-pixel upsampler.
_AT_64 = UNetConfig(
    out_channels=6,
    model_channels=192,
    num_res_blocks=3,
    channel_mult=(1, 2, 3, 4),
    attention_downsamplings=(2, 4, 8),
    num_head_channels=64,
)
_AT_256 = replace(_AT_64, num_res_blocks=2, channel_mult=(1, 1, 2, 2, 4, 4), attention_downsamplings=(8, 16, 32))
_WIDE_AT_256 = replace(_AT_256, model_channels=256)
_AT_128 = replace(_WIDE_AT_256, channel_mult=(1, 1, 2, 3, 4), attention_downsamplings=(4, 8, 16))
_AT_512 = replace(_WIDE_AT_256, channel_mult=(0.5, 1, 1, 2, 2, 4, 4), attention_downsamplings=(16, 32, 64))


def _adm(name: str, network: UNetConfig, num_classes: int | None = 1000, schedule: str = "linear") -> PublishedFile:
    return PublishedFile(name, Layout(replace(network, num_classes=num_classes)), schedule, _ADM)


def _four_heads(network: UNetConfig) -> UNetConfig:
    return replace(network, num_heads=4, num_head_channels=None)


def _glide(name: str, network: UNetConfig, schedule: str) -> PublishedFile:
    layout = Layout(replace(network, context_dim=512), TextTransformerConfig())
    return PublishedFile(name, layout, schedule, _GLIDE)


PUBLISHED = (
    _adm("64x64_diffusion", replace(_AT_64, new_attention_order=True), schedule="cosine"),
    _adm("128x128_diffusion", _four_heads(_AT_128)),
    _adm("256x256_diffusion", _WIDE_AT_256),
    _adm("256x256_diffusion_uncond", _WIDE_AT_256, num_classes=None),
    _adm("512x512_diffusion", _AT_512),
    _adm("64_256_upsampler", _four_heads(replace(_AT_256, low_res_channels=3))),
    _adm("128_512_upsampler", replace(_AT_256, attention_downsamplings=(16, 32), low_res_channels=3)),
    _glide("glide_base", _AT_64, "squaredcos_cap_v2"),
    _glide("glide_base_inpaint", replace(_AT_64, map_channels=4), "squaredcos_cap_v2"),
    _glide("glide_upsample", replace(_AT_256, low_res_channels=3), "linear"),
    _glide("glide_upsample_inpaint", replace(_AT_256, map_channels=4, low_res_channels=3), "linear"),
    PublishedFile(
        "faces_model_latest",
        Layout(replace(_AT_256, map_channels=6, convert_maps=True, film_dim=512)),
        "linear",
        _RELEASE,
    ),
    PublishedFile("faces_model_sketch", Layout(replace(_AT_256, map_channels=3)), "linear", _RELEASE),
)
