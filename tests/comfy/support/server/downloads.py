"""Small random files in place of the checkpoints and the LoRA that the workflows ask the user to download."""

from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.ops
import comfy.sd1_clip
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from safetensors.torch import save_file
from torch import Tensor, nn

from ..families.unets import UNET
from ..oracle.joint import tiny_autoencoder
from ..oracle.networks import fill, lora
from ..places import OFFLOADED, placed

# The smallest network that ComfyUI recognizes as SD1.5, by its first width and the width of the text.
_UNET = {
    **UNET,
    "model_channels": 320,
    "num_res_blocks": [1],
    "channel_mult": [1],
    "transformer_depth": [1],
    "transformer_depth_output": [1, 1],
    "context_dim": 768,
    "use_linear_in_transformer": False,
}


# Likewise for SD3, by the width of its text and the number of its pieces of a picture.
_MMDIT = {
    "input_size": None,
    "patch_size": 2,
    "in_channels": 16,
    "depth": 2,
    "pos_embed_scaling_factor": None,
    "adm_in_channels": 2048,
    "num_patches": 96 * 96,
    "pos_embed_max_size": 96,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 128}},
}


def write_checkpoint(path: Path, seed: int) -> None:
    """Write a file that Load Checkpoint takes for SD1.5: a UNet, CLIP-L and, as a small VAE, the tiny autoencoder."""
    _write_parts(path, seed, _unet(seed), "cond_stage_model.", channels=4)


def write_sd3_checkpoint(path: Path, seed: int) -> None:
    """Write a file that Load Checkpoint takes for SD3, with CLIP-L alone and a tiny autoencoder of 16 channels."""
    model = _network(comfy.supported_models.SD3, _MMDIT, seed)
    _write_parts(path, seed, model, "text_encoders.clip_l.", channels=16)


def _write_parts(path: Path, seed: int, model: ModelPatcher, text_encoder: str, channels: int) -> None:
    autoencoder = tiny_autoencoder(channels)
    parts = {
        "model.diffusion_model.": model.model.diffusion_model.state_dict(),
        f"{text_encoder}transformer.": _text_encoder(seed).state_dict(),
        "first_stage_model.": autoencoder.state_dict(),
    }
    _save({prefix + key: value for prefix, part in parts.items() for key, value in part.items()}, path)


def write_lora(path: Path, seed: int) -> None:
    """Write a LoRA on all linear layers of the UNet of `write_checkpoint`."""
    _save(lora(_unet(0), seed), path)


def write_controlnet(path: Path, seed: int) -> None:
    """Write a ControlNet for the UNet of `write_checkpoint`."""
    config = {name: value for name, value in _UNET.items() if name != "out_channels"}
    net = comfy.cldm.cldm.ControlNet(
        hint_channels=3, num_heads=8, dtype=torch.float32, operations=comfy.ops.disable_weight_init, **config
    )
    fill(net, seed)
    _save(net.state_dict(), path)


def _unet(seed: int) -> ModelPatcher:
    return _network(comfy.supported_models.SD15, _UNET, seed)


def _network(family: type, layout: dict[str, Any], seed: int) -> ModelPatcher:
    config = family(layout)
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device=OFFLOADED)
    fill(model.diffusion_model, seed)
    return placed(model)


def _text_encoder(seed: int) -> nn.Module:
    model = comfy.sd1_clip.SDClipModel(device=OFFLOADED, dtype=torch.float32).transformer
    fill(model, seed)
    return model


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in tensors.items()}, path)
