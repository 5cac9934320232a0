"""Networks on sound, music and three-dimensional shapes."""

from __future__ import annotations

import comfy.ldm.audio.embedders
import torch

from .family import STREAMS, TOKENS, WIDTH, Family

_STABLE_AUDIO = {
    "audio_model": "dit1.0",
    "embed_dim": 64,
    "cond_token_dim": 768,
    "project_cond_tokens": True,
    "depth": 1,
    "num_heads": 2,
}


def _seconds(*names: str):
    """Weights of ComfyUI's embedders of durations in seconds."""

    def weights() -> dict[str, torch.Tensor]:
        torch.manual_seed(8)
        found = {}
        for name in names:
            state = comfy.ldm.audio.embedders.NumberConditioner(768).state_dict()
            found |= {
                f"conditioner.conditioners.{name}.{key}": torch.randn(value.shape) for key, value in state.items()
            }
        return found

    return weights


_HUNYUAN_3D = {
    "image_model": "hunyuan3d2",
    "in_channels": 64,
    "context_in_dim": WIDTH,
    **STREAMS,
}

AUDIO_AND_SHAPES = {
    "StableAudio": Family(
        {**_STABLE_AUDIO, "io_channels": 64, "global_cond_dim": 1536},
        (64, 8),
        (TOKENS, 768),
        checkpoint=_seconds("seconds_start", "seconds_total"),
    ),
    "StableAudio3": Family(
        {
            **_STABLE_AUDIO,
            "io_channels": 256,
            "global_cond_dim": 768,
            "timestep_features_type": "learned",
            "global_cond_shared_embed": True,
            "global_cond_type": "adaLN",
            "local_add_cond_dim": 257,
        },
        (256, 8),
        (TOKENS, 768),
        checkpoint=_seconds("seconds_total"),
    ),
    "ACEStep": Family(
        {
            "audio_model": "ace",
            "num_layers": 1,
            "inner_dim": 32,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "mlp_ratio": 2.0,
            "max_position": 64,
            "max_width": 64,
            "text_embedding_dim": WIDTH,
            "ssl_encoder_depths": [1, 1],
            "ssl_latent_dims": [8, 8],
            "lyric_encoder_vocab_size": 32,
            "lyric_hidden_size": 1024,
        },
        (8, 16, 6),
        values=lambda draw: {"conditioning_lyrics": draw(1, 4).abs().mul(8).long().clamp(max=31)},
    ),
    "ACEStep15": Family(
        {
            "audio_model": "ace1.5",
            "hidden_size": 32,
            "text_hidden_dim": WIDTH,
            "num_dit_layers": 2,
            "num_lyric_layers": 1,
            "num_timbre_layers": 1,
            "num_tokenizer_layers": 1,
            "num_heads": 2,
            "num_kv_heads": 1,
            "head_dim": 16,
            "intermediate_size": 64,
            "fsq_dim": 32,
            "encoder_hidden_size": 32,
            "encoder_intermediate_size": 64,
            "encoder_num_heads": 2,
        },
        (64, 10),
        values=lambda draw: {"conditioning_lyrics": draw(1, 4, WIDTH)},
    ),
    "Hunyuan3Dv2": Family(_HUNYUAN_3D, (64, 12)),
    "Hunyuan3Dv2mini": Family({**_HUNYUAN_3D, "depth": 2}, (64, 12)),
    "Hunyuan3Dv2_1": Family(
        {
            "image_model": "hunyuan3d2_1",
            "in_channels": 64,
            "hidden_size": 32,
            "context_dim": WIDTH,
            "depth": 3,
            "num_heads": 2,
            "num_moe_layers": 1,
            "guidance_cond_proj_dim": 32,
            "num_experts": 2,
            "moe_top_k": 1,
        },
        (64, 12),
    ),
}
