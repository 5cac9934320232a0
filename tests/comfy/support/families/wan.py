"""Wan and networks derived from it."""

from __future__ import annotations

from types import SimpleNamespace

from .family import WIDTH, Family

LATENT = (16, 2, 4, 6)
_WAN = {
    "image_model": "wan2.1",
    "text_len": 8,
    "in_dim": 16,
    "dim": 48,
    "ffn_dim": 64,
    "freq_dim": 32,
    "text_dim": WIDTH,
    "out_dim": 16,
    "num_heads": 2,
    "num_layers": 1,
}


def _wan(kind: str, **settings) -> dict:
    return {**_WAN, "model_type": kind, **settings}


def _picture(draw):
    return {"concat_latent_image": draw(1, *LATENT)}


def _seen(draw):
    return SimpleNamespace(penultimate_hidden_states=draw(1, 3, 1280))


WAN = {
    "WAN21_T2V": Family(_wan("t2v"), LATENT),
    "WAN21_CausalAR_T2V": Family(_wan("t2v", causal_ar=True), LATENT),
    "WAN22_T2V": Family(_wan("t2v", in_dim=48, out_dim=48), (48, 2, 4, 6)),
    "WAN21_I2V": Family(
        _wan("i2v", in_dim=36), LATENT, values=lambda draw: {**_picture(draw), "clip_vision_output": _seen(draw)}
    ),
    "WAN21_FunControl2V": Family(
        _wan("i2v", in_dim=48),
        LATENT,
        values=lambda draw: {"concat_latent_image": draw(1, 32, *LATENT[1:]), "clip_vision_output": _seen(draw)},
    ),
    "WAN21_Vace": Family(
        _wan("vace", vace_in_dim=96, vace_layers=1),
        LATENT,
        values=lambda draw: {"vace_frames": [draw(1, 32, *LATENT[1:])], "vace_mask": [draw(1, 64, *LATENT[1:])]},
    ),
    "WAN21_Camera": Family(
        _wan("camera", in_dim=32, in_dim_control_adapter=4),
        LATENT,
        values=lambda draw: {"camera_conditions": draw(1, 4, 2, 32, 48), **_picture(draw)},
    ),
    "WAN22_Camera": Family(
        _wan("camera_2.2", in_dim=36, in_dim_control_adapter=4),
        LATENT,
        values=lambda draw: {"camera_conditions": draw(1, 4, 2, 32, 48), **_picture(draw)},
    ),
    "WAN21_HuMo": Family(
        _wan("humo", audio_token_num=16), LATENT, values=lambda draw: {"audio_embed": draw(1, 2, 8, 5, 1280)}
    ),
    "WAN22_S2V": Family(
        _wan("s2v", audio_dim=WIDTH, num_audio_token=2, audio_inject_layers=[0]),
        LATENT,
        values=lambda draw: {"audio_embed": draw(1, 25, WIDTH, 8)},
    ),
    "WAN22_Animate": Family(
        _wan("animate", in_dim=36), LATENT, values=lambda draw: {"pose_video_latent": draw(1, 16, 1, 4, 6)}
    ),
    "WAN_Animate2": Family(_wan("animate2", in_dim=36), LATENT, values=_picture),
    "WAN21_FlowRVS": Family(_wan("flow_rvs"), LATENT),
    "WAN21_SCAIL": Family(
        _wan("scail", in_dim=20), LATENT, values=lambda draw: {"pose_video_latent": draw(1, 16, 2, 2, 3)}
    ),
    "WAN21_SCAIL2": Family(
        _wan("scail2", in_dim=20), LATENT, values=lambda draw: {"pose_video_latent": draw(1, 16, 2, 2, 3)}
    ),
    "WAN22_WanDancer": Family(
        _wan(
            "wandancer",
            in_dim=36,
            audio_inject_layers=[0],
            music_dim=16,
            music_heads=2,
            music_latent_dim=16,
        ),
        (16, 2, 4, 8),  # eight steps of the music for each frame
        values=lambda draw: {"concat_latent_image": draw(1, 16, 2, 4, 8), "audio_embed": draw(1, 16, 35)},
    ),
}
