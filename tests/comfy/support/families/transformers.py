"""Transformers on the latents of pictures."""

from __future__ import annotations

import torch

from .family import KANDINSKY, STREAMS, TOKENS, WIDTH, Family, all_tokens, no_pool, pooled
from .videos import HUNYUAN

LATENT = (16, 4, 6)
_FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": WIDTH,
    "context_in_dim": WIDTH,
    **STREAMS,
    "axes_dim": [4, 6, 6],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
SCHNELL = {**_FLUX, "guidance_embed": False}
_FLUX2 = {
    **_FLUX,
    "image_model": "flux2",
    "in_channels": 128,
    "out_channels": 128,
    "vec_in_dim": None,
    "axes_dim": [4, 4, 4, 4],
    "theta": 2000,
    "patch_size": 1,
    "qkv_bias": False,
    "txt_ids_dims": [3],
    "global_modulation": True,
    "mlp_silu_act": True,
    "ops_bias": False,
    "default_ref_method": "index",
    "ref_index_scale": 10.0,
}
CHROMA = {
    "image_model": "chroma",
    "in_channels": 64,
    "out_channels": 64,
    "in_dim": 64,
    "out_dim": 32,
    "hidden_dim": 32,
    "n_layers": 1,
    **{name: _FLUX[name] for name in ("context_in_dim", "hidden_size", "mlp_ratio", "num_heads", "depth")},
    **{name: _FLUX[name] for name in ("depth_single_blocks", "axes_dim", "theta", "patch_size", "qkv_bias")},
    "txt_ids_dims": [],
    "vec_in_dim": None,
}
LUMINA = {
    "image_model": "lumina2",
    "patch_size": 2,
    "in_channels": 16,
    "dim": 48,
    "cap_feat_dim": WIDTH,
    "n_layers": 1,
    "n_refiner_layers": 1,
    "qk_norm": True,
    "n_heads": 2,
    "n_kv_heads": 1,
    "multiple_of": 16,
    "axes_dims": [8, 8, 8],
    "axes_lens": [300, 512, 512],
    "ffn_dim_multiplier": 1.0,
}
Z_IMAGE = {**LUMINA, "dim": 256, "n_kv_heads": 2, "axes_dims": [32, 48, 48], "rope_theta": 256.0}
Z_IMAGE |= {"z_image_modulation": True, "time_scale": 1000.0}
_OMNIGEN = {
    "image_model": "omnigen2",
    "patch_size": 2,
    "in_channels": 16,
    "hidden_size": 48,
    "num_layers": 1,
    "num_refiner_layers": 1,
    "num_attention_heads": 2,
    "num_kv_heads": 1,
    "multiple_of": 16,
    "axes_dim_rope": (8, 8, 8),
    "axes_lens": (300, 512, 512),
    "text_feat_dim": WIDTH,
    "timestep_scale": 1000.0,
}
_QWEN = {
    "image_model": "qwen_image",
    "in_channels": 64,
    "num_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 6, 6),
}
_PIXART = {
    "input_size": 32,
    "patch_size": 2,
    "in_channels": 4,
    "hidden_size": 48,
    "depth": 1,
    "num_heads": 2,
    "caption_channels": WIDTH,
    "model_max_length": TOKENS,
    "pe_interpolation": 1,
}
_PIXART_LATENT = (4, 32, 34)  # its places are counted in 64 rows and columns, rounded
_HUNYUAN_DIT = {
    "image_model": "hydit",
    "hidden_size": 32,
    "depth": 2,
    "num_heads": 2,
    "text_states_dim": WIDTH,
    "text_states_dim_t5": WIDTH,
    "text_len": TOKENS,
    "text_len_t5": 3,
    "learn_sigma": True,
}
_HUNYUAN_IMAGE = {
    **HUNYUAN,
    "in_channels": 64,
    "out_channels": 64,
    "vec_in_dim": None,
    "axes_dim": [8, 8],
    "patch_size": [1, 1],
    "guidance_embed": False,
}


def _two_encoders(draw):
    mask, mask_t5 = torch.ones(1, TOKENS), torch.ones(1, 3)
    return {"attention_mask": mask, "conditioning_mt5xl": draw(1, 3, WIDTH), "attention_mask_mt5xl": mask_t5}


TRANSFORMERS = {
    "SD3": Family(
        {
            "input_size": None,
            "patch_size": 2,
            "in_channels": 16,
            "depth": 1,
            "pos_embed_scaling_factor": None,
            "pos_embed_max_size": 8,
            "num_patches": 64,
            "adm_in_channels": WIDTH,
            "context_embedder_config": {
                "target": "torch.nn.Linear",
                "params": {"in_features": WIDTH, "out_features": 64},
            },
        },
        LATENT,
        values=pooled(WIDTH),
    ),
    "AuraFlow": Family(
        {
            "cond_seq_dim": WIDTH,
            "dim": 32,
            "n_layers": 2,
            "n_double_layers": 1,
            "n_heads": 2,
            "global_conddim": 32,
            "max_seq": 64,
        },
        (4, 4, 6),
    ),
    "PixArtAlpha": Family(
        {**_PIXART, "image_model": "pixart_alpha", "micro_condition": True},
        _PIXART_LATENT,
        values=lambda draw: {"width": 272, "height": 256},
    ),
    "PixArtSigma": Family({**_PIXART, "image_model": "pixart_sigma", "micro_condition": False}, _PIXART_LATENT),
    "HunyuanDiT": Family(_HUNYUAN_DIT, (4, 4, 6), values=_two_encoders),
    "HunyuanDiT1": Family(
        {**_HUNYUAN_DIT, "image_model": "hydit1", "size_cond": True, "use_style_cond": True},
        (4, 4, 6),
        values=_two_encoders,
    ),
    "Flux": Family(_FLUX, LATENT, values=pooled(WIDTH)),
    "FluxInpaint": Family(
        {**_FLUX, "in_channels": 96},
        LATENT,
        values=lambda draw: {
            **pooled(WIDTH)(draw),
            "concat_latent_image": draw(1, *LATENT),
            "concat_mask": torch.ones(1, 1, *LATENT[1:]).tril(),
        },
    ),
    "FluxSchnell": Family(SCHNELL, LATENT, values=pooled(WIDTH)),
    "LongCatImage": Family({**SCHNELL, "vec_in_dim": None, "txt_ids_dims": [1, 2]}, LATENT),
    "Flux2": Family(_FLUX2, (128, 2, 3)),
    "Chroma": Family(CHROMA, LATENT, values=no_pool),
    "Lumina2": Family(LUMINA, LATENT, values=all_tokens),
    "ZImage": Family(Z_IMAGE, LATENT),
    "Omnigen2": Family(_OMNIGEN, LATENT, values=all_tokens),
    "Boogu": Family(
        {
            **{name: value for name, value in _OMNIGEN.items() if name != "text_feat_dim"},
            "image_model": "boogu",
            "num_double_stream_layers": 1,
            "instruction_feat_dim": WIDTH,
        },
        LATENT,
        values=all_tokens,
    ),
    "QwenImage": Family(_QWEN, (16, 1, 4, 6)),
    "MageFlow": Family({**_QWEN, "image_model": "mage_flow", "in_channels": 128}, (128, 2, 3)),
    "JoyImage": Family(
        {
            "image_model": "joyimage",
            "in_channels": 16,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "text_dim": WIDTH,
            "mlp_width_ratio": 2.0,
            "num_layers": 1,
        },
        (16, 1, 4, 6),
        extra={"theta": 10000, "rope_dim_list": [4, 6, 6]},
    ),
    "Ideogram4": Family(
        {"image_model": "ideogram4", "in_channels": 128, "num_layers": 1},
        (128, 2, 3),
        extra={
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "intermediate_size": 32,
            "adaln_dim": 32,
            "llm_features_dim": WIDTH,
            "rope_theta": 5000000,
            "mrope_section": [4, 2, 2],
            "norm_eps": 1e-5,
        },
    ),
    "Krea2": Family(
        {
            "image_model": "krea2",
            "features": 32,
            "tdim": 32,
            "txtdim": WIDTH,
            "heads": 2,
            "kvheads": 1,
            "multiplier": 2,
            "layers": 1,
            "txtlayers": 2,
            "txtheads": 1,
            "txtkvheads": 1,
        },
        (16, 1, 4, 6),
        (TOKENS, 2 * WIDTH),
    ),
    "Lens": Family(
        {
            "image_model": "lens",
            "patch_size": 1,
            "in_channels": 128,
            "out_channels": 128,
            "num_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "enc_hidden_dim": WIDTH,
            "axes_dims_rope": (4, 6, 6),
            "selected_layer_index": (0, 1),
        },
        (128, 2, 3),
        (TOKENS, 2 * WIDTH),
    ),
    "HiDream": Family(
        {
            "image_model": "hidream",
            "patch_size": 2,
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "caption_channels": [WIDTH, WIDTH],
            "text_emb_dim": WIDTH,
            "num_routed_experts": 2,
            "num_activated_experts": 1,
            "axes_dims_rope": (4, 6, 6),
            "max_resolution": (32, 32),
            "llama_layers": [0, 1],
        },
        LATENT,
        values=lambda draw: {**pooled(WIDTH)(draw), "conditioning_llama3": draw(1, 2, TOKENS, WIDTH)},
    ),
    "HunyuanImage21": Family(_HUNYUAN_IMAGE, (64, 3, 4)),
    "Kandinsky5Image": Family({**KANDINSKY, "visual_embed_dim": 64}, LATENT, values=pooled(WIDTH)),
    "ErnieImage": Family(
        {
            "image_model": "ernie",
            "hidden_size": 32,
            "num_attention_heads": 2,
            "num_layers": 1,
            "ffn_hidden_size": 64,
            "in_channels": 128,
            "out_channels": 128,
            "text_in_dim": WIDTH,
            "rope_axes_dim": (4, 6, 6),
        },
        (128, 2, 3),
    ),
}
