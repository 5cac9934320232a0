"""Networks on the latents of videos, but for Wan's."""

from __future__ import annotations

import torch

from .family import KANDINSKY, STREAMS, TOKENS, WIDTH, Family, all_tokens, no_pool, pooled

LATENT = (16, 2, 4, 6)
HUNYUAN = {
    "image_model": "hunyuan_video",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": WIDTH,
    "context_in_dim": WIDTH,
    **STREAMS,
    "axes_dim": [4, 6, 6],
    "theta": 256,
    "patch_size": [1, 2, 2],
    "qkv_bias": True,
    "guidance_embed": True,
    "byt5": False,
    "meanflow": False,
    "use_cond_type_embedding": False,
    "vision_in_dim": None,
    "meanflow_sum": False,
}
_HUNYUAN_15 = {
    **HUNYUAN,
    "in_channels": 65,
    "out_channels": 32,
    "vec_in_dim": None,
    "patch_size": [1, 1, 1],
    "guidance_embed": False,
    "vision_in_dim": WIDTH,
    "meanflow_sum": True,
    "use_cond_type_embedding": True,
}
_COSMOS = {
    "image_model": "cosmos",
    "max_img_h": 32,
    "max_img_w": 32,
    "max_frames": 16,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "concat_padding_mask": True,
    "model_channels": 32,
    "num_blocks": 1,
    "num_heads": 2,
    "crossattn_emb_channels": WIDTH,
    "pos_emb_cls": "rope3d",
    "use_adaln_lora": True,
    "adaln_lora_dim": 16,
}
_COSMOS_1 = {**_COSMOS, "block_x_format": "THWBD", "affline_emb_norm": True, "extra_per_block_abs_pos_emb": True}
_COSMOS_1 |= {"extra_per_block_abs_pos_emb_type": "learnable"}
_COSMOS_2 = {**_COSMOS, "image_model": "cosmos_predict2"}
_COGVIDEO = {
    "image_model": "cogvideox",
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 16,
    "out_channels": 16,
    "time_embed_dim": 32,
    "text_embed_dim": WIDTH,
    "num_layers": 1,
    "sample_width": 12,
    "sample_height": 8,
    "sample_frames": 9,
    "max_text_seq_length": TOKENS,
    "use_rotary_positional_embeddings": True,
}


def _picture(draw):
    return {"concat_latent_image": draw(1, *LATENT)}


def _first_frame(draw):
    return {**_picture(draw), "concat_mask": torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1, 1).expand(1, 1, 2, 4, 6)}


VIDEOS = {
    "GenmoMochi": Family(
        {
            "image_model": "mochi_preview",
            "patch_size": 2,
            "in_channels": 12,
            "hidden_size_x": 48,
            "hidden_size_y": 32,
            "depth": 2,
            "num_heads": 2,
            "mlp_ratio_x": 256.0,
            "mlp_ratio_y": 2.0,
            "use_t5": True,
            "t5_feat_dim": WIDTH,
            "t5_token_length": TOKENS,
            "learn_sigma": False,
            "timestep_mlp_bias": True,
            "timestep_scale": 1000.0,
            "posenc_preserve_area": True,
            "qk_norm": True,
            "qkv_bias": False,
            "out_bias": True,
            "attn_drop": 0.0,
        },
        (12, 2, 4, 6),
        values=all_tokens,
    ),
    "LTXV": Family(
        {
            "image_model": "ltxv",
            "cross_attention_dim": 32,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "caption_channels": WIDTH,
            "num_layers": 1,
        },
        (128, 2, 2, 3),
        values=all_tokens,
    ),
    "HunyuanVideo": Family(HUNYUAN, LATENT, values=pooled(WIDTH)),
    "HunyuanVideoI2V": Family(
        {**HUNYUAN, "in_channels": 33},
        LATENT,
        values=lambda draw: {**pooled(WIDTH)(draw), **_picture(draw), "concat_mask": torch.ones(1, 1, *LATENT[1:])},
    ),
    "HunyuanVideoSkyreelsI2V": Family(
        {**HUNYUAN, "in_channels": 32}, LATENT, values=lambda draw: {**pooled(WIDTH)(draw), **_picture(draw)}
    ),
    "HunyuanVideo15": Family(
        _HUNYUAN_15,
        (32, 2, 3, 4),
        values=lambda draw: {**no_pool(draw), "concat_latent_image": draw(1, 32, 2, 3, 4)},
    ),
    "HunyuanVideo15_SR_Distilled": Family(
        {**_HUNYUAN_15, "in_channels": 98, "meanflow": True},
        (32, 2, 3, 4),
        values=lambda draw: {**no_pool(draw), "concat_latent_image": draw(1, 66, 2, 3, 4)},
    ),
    "HunyuanImage21Refiner": Family(
        {
            **HUNYUAN,
            "in_channels": 128,
            "out_channels": 64,
            "vec_in_dim": None,
            "patch_size": [1, 1, 1],
            "meanflow": True,
        },
        (64, 2, 3, 4),
    ),
    "CosmosT2V": Family(_COSMOS_1, LATENT),
    "CosmosI2V": Family({**_COSMOS_1, "in_channels": 17}, LATENT, values=_first_frame),
    "CosmosT2IPredict2": Family(_COSMOS_2, LATENT),
    "CosmosI2VPredict2": Family({**_COSMOS_2, "in_channels": 17}, LATENT, values=_first_frame),
    "Anima": Family(
        {**_COSMOS_2, "image_model": "anima", "crossattn_emb_channels": 1024},
        (16, 1, 4, 6),
        (TOKENS, 1024),
        values=lambda draw: {"t5xxl_ids": torch.arange(TOKENS), "t5xxl_weights": torch.ones(TOKENS)},
    ),
    "Kandinsky5": Family({**KANDINSKY, "in_visual_dim": 16}, LATENT, values=pooled(WIDTH)),
    "CogVideoX_T2V": Family(_COGVIDEO, LATENT),
    "CogVideoX_I2V": Family({**_COGVIDEO, "in_channels": 32}, LATENT, values=_picture),
    "CogVideoX_Inpaint": Family({**_COGVIDEO, "in_channels": 48}, LATENT, values=_picture),
    "SeedVR2": Family(
        {
            "image_model": "seedvr2",
            "vid_dim": 32,
            "heads": 2,
            "head_dim": 16,
            "num_layers": 2,
            "mm_layers": 1,
            "norm_eps": 1e-5,
            "rope_type": "rope3d",
            "rope_dim": 16,
            "mlp_type": "normal",
            "txt_in_dim": WIDTH,
        },
        LATENT,
        values=lambda draw: {"condition": torch.linspace(-1.0, 1.0, 17 * 2 * 4 * 6).reshape(1, 17, 2, 4, 6)},
    ),
}
