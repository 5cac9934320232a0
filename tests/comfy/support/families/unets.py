"""Convolutional networks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from .family import TOKENS, WIDTH, Draw, Family, pooled

LATENT = (4, 4, 6)
HEADS = {"num_heads": -1, "num_head_channels": 16}
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "legacy": False,
    "context_dim": WIDTH,
}
_CONV = {**UNET, "use_linear_in_transformer": False}
_LINEAR = {**UNET, "use_linear_in_transformer": True}
_XL_SIZES = 6 * 256  # embeddings of the sizes, beside the pooled text
_VIDEO = {
    **_LINEAR,
    "in_channels": 8,
    "use_temporal_attention": True,
    "use_temporal_resblock": True,
    "num_classes": "sequential",
    "extra_ff_mix_layer": True,
    "merge_factor": 0.5,
    "merge_strategy": "learned_with_images",
    "disable_temporal_crossattention": False,
    "max_ddpm_temb_period": 10000,
    "video_kernel_size": [3, 1, 1],
}


def _adm(width: int) -> dict[str, Any]:
    return {"num_classes": "sequential", "adm_in_channels": width}


def _xl(**settings: Any) -> Family:
    config = {**_LINEAR, **_adm(1280 + _XL_SIZES), **settings}
    return Family(config, LATENT, values=pooled(1280), extra=HEADS)


def _unclip(width: int) -> Family:
    def values(draw: Draw) -> dict[str, Any]:
        seen = SimpleNamespace(image_embeds=draw(1, width))
        return {"unclip_conditioning": [{"clip_vision_output": seen, "strength": 1.0, "noise_augmentation": 0.1}]}

    return Family({**_LINEAR, **_adm(2 * width)}, LATENT, values=values, extra=HEADS)


def _picture(channels: int, name: str = "concat_latent_image") -> Any:
    return lambda draw: {name: draw(1, channels, *LATENT[1:])}


def _zero123_projection() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(8)
    weight, bias = (torch.randn(shape, generator=draw) for shape in ((WIDTH, WIDTH), (WIDTH,)))
    return {"cc_projection.weight": weight / 4, "cc_projection.bias": bias}


def _with_picture_and_pool(draw: Draw) -> dict[str, Any]:
    return {**pooled(1280)(draw), **_picture(4)(draw)}


_CASCADE = {"c_r": 16, "kernel_size": 3, "self_attn": True}
_STAGE_C = {
    **_CASCADE,
    "stable_cascade_stage": "c",
    "c_cond": WIDTH,
    "c_hidden": [32, 32],
    "nhead": [2, 2],
    "blocks": [[1, 1], [1, 1]],
    "block_repeat": [[1, 1], [1, 1]],
    "c_clip_text": WIDTH,
    "c_clip_text_pooled": WIDTH,
    "c_clip_img": 768,
}
_STAGE_B = {
    **_CASCADE,
    "stable_cascade_stage": "b",
    "c_cond": WIDTH,
    "c_hidden": [16, 16, 32, 32],
    "nhead": [-1, -1, 2, 2],
    "blocks": [[1, 1, 1, 1], [1, 1, 1, 1]],
    "block_repeat": [[1, 1, 1, 1], [1, 1, 1, 1]],
    "c_clip": WIDTH,
}

UNETS = {
    "SD15": Family(_CONV, LATENT, extra=HEADS),
    "SD15_instructpix2pix": Family({**_CONV, "in_channels": 8}, LATENT, values=_picture(4), extra=HEADS),
    "Stable_Zero123": Family(
        {**_CONV, "in_channels": 8}, LATENT, values=_picture(4), extra=HEADS, checkpoint=_zero123_projection
    ),
    "SD20": Family(_LINEAR, LATENT, extra=HEADS),
    "SD21UnclipL": _unclip(768),
    "SD21UnclipH": _unclip(1024),
    "LotusD": Family({**_LINEAR, **_adm(4)}, LATENT, extra={"num_classes": "sequential", "num_head_channels": 16}),
    "SD_X4Upscaler": Family(
        {**_LINEAR, "in_channels": 7},
        LATENT,
        values=lambda draw: {"concat_image": draw(1, 3, *LATENT[1:]), "noise_augmentation": 0.2},
        extra={"disable_self_attentions": [True, False], "num_classes": 1000, **HEADS},
    ),
    "SDXL": _xl(),
    "SDXL_instructpix2pix": Family(
        {**_LINEAR, **_adm(1280 + _XL_SIZES), "in_channels": 8}, LATENT, values=_with_picture_and_pool, extra=HEADS
    ),
    "SDXLRefiner": _xl(**_adm(1280 + 5 * 256)),
    "SSD1B": _xl(transformer_depth_middle=-1, transformer_depth=[1, 2]),  # no block in the middle
    "Segmind_Vega": _xl(transformer_depth_middle=-1),
    "KOALA_700M": _xl(transformer_depth=[0, 2], transformer_depth_output=[0, 0, 2, 2]),
    "KOALA_1B": _xl(transformer_depth=[0, 3], transformer_depth_output=[0, 0, 3, 3]),
    "SVD_img2vid": Family({**_VIDEO, **_adm(768)}, LATENT, (1, WIDTH), values=_picture(4), extra=HEADS),
    "SV3D_u": Family({**_VIDEO, **_adm(256)}, LATENT, (1, WIDTH), values=_picture(4), extra=HEADS),
    "SV3D_p": Family(
        {**_VIDEO, **_adm(1280)},
        LATENT,
        (1, WIDTH),
        values=lambda draw: {**_picture(4)(draw), "azimuth": [0, 20], "elevation": [10, 10]},
        extra=HEADS,
    ),
    "Stable_Cascade_C": Family(
        _STAGE_C, (16, 4, 4), (TOKENS, WIDTH), values=lambda draw: {"pooled_output": draw(1, 1, WIDTH)}
    ),
    "Stable_Cascade_B": Family(
        _STAGE_B,
        (4, 16, 16),
        values=lambda draw: {"pooled_output": draw(1, 1, WIDTH), "stable_cascade_prior": draw(1, 16, 4, 4)},
    ),
}
