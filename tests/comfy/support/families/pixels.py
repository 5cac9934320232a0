"""Networks on pixels."""

from __future__ import annotations

import torch

from .family import TOKENS, WIDTH, Family, no_pool
from .transformers import CHROMA, Z_IMAGE

_PIXELDIT = {
    "image_model": "pixeldit_t2i",
    "num_groups": 2,
    "hidden_size": 32,
    "pixel_hidden_size": 4,
    "pixel_attn_hidden_size": 32,
    "pixel_num_groups": 2,
    "patch_depth": 2,
    "pixel_depth": 1,
    "patch_size": 4,
    "txt_embed_dim": WIDTH,
    "txt_max_length": 8,
}

PIXELS = {
    "ChromaRadiance": Family(
        {
            **CHROMA,
            "image_model": "chroma_radiance",
            "in_channels": 3,
            "out_channels": 3,
            "patch_size": 4,
            "nerf_hidden_size": 8,
            "nerf_mlp_ratio": 2,
            "nerf_depth": 1,
            "nerf_max_freqs": 2,
            "nerf_tile_size": 512,
            "nerf_final_head_type": "conv",
            "nerf_embedder_dtype": torch.float32,
            "use_x0": False,
            "use_sequential_txt_ids": False,
        },
        (3, 8, 12),
        values=no_pool,
    ),
    "ZImagePixelSpace": Family(
        {
            **Z_IMAGE,
            "image_model": "zimage_pixel",
            "patch_size": 4,
            "in_channels": 3,
            "decoder_hidden_size": 16,
            "decoder_num_res_blocks": 1,
            "decoder_max_freqs": 2,
            "decoder_in_channels": 48,
        },
        (3, 8, 12),
    ),
    "PixelDiTT2I": Family(_PIXELDIT, (3, 8, 12)),
    "HiDreamO1": Family(
        {
            "image_model": "hidream_o1",
            "text_config_overrides": {
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 32,
                "rope_dims": [8, 4, 4],
            },
            "vision_config_overrides": {
                "hidden_size": 32,
                "num_heads": 2,
                "intermediate_size": 32,
                "depth": 1,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": (),
            },
        },
        (3, 64, 96),
        values=lambda draw: {"text_input_ids": draw(1, TOKENS).abs().mul(1000).long()},
    ),
    "PiD": Family(
        {
            **_PIXELDIT,
            "image_model": "pid",
            "lq_latent_channels": 4,
            "lq_hidden_dim": 16,
            "lq_num_res_blocks": 1,
            "sr_scale": 2,
            "latent_spatial_down_factor": 2,
        },
        (3, 8, 12),
        values=lambda draw: {"lq_latent": draw(1, 4, 2, 3), "degrade_sigma": torch.tensor([0.1])},
    ),
}
