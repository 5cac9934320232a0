"""Small random files in place of the checkpoints and the LoRA that the workflows ask the user to download.

Imports ComfyUI: import it after the `pack` fixture has made it importable.
"""

from pathlib import Path

import comfy.cldm.cldm
import comfy.ops
import comfy.sd1_clip
import comfy.supported_models
import comfy.taesd.taesd
import torch
from comfy.model_patcher import ModelPatcher
from safetensors.torch import save_file
from torch import Tensor, nn

from .oracle.networks import CPU, fill, lora

# The smallest network that ComfyUI recognizes as SD1.5, by its first width and the width of the text.
_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1],
    "channel_mult": [1],
    "transformer_depth": [1],
    "transformer_depth_output": [1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "legacy": False,
}


def write_checkpoint(path: Path, seed: int) -> None:
    """Write a file that Load Checkpoint takes for SD1.5: a UNet, CLIP-L and, as a small VAE, the tiny autoencoder."""
    autoencoder = comfy.taesd.taesd.TAESD()
    fill(autoencoder, seed)
    parts = {
        "model.diffusion_model.": _unet(seed).model.diffusion_model.state_dict(),
        "cond_stage_model.transformer.": _text_encoder(seed).state_dict(),
        "first_stage_model.": {**autoencoder.state_dict(), "vae_scale": torch.ones(()), "vae_shift": torch.zeros(())},
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
    config = comfy.supported_models.SD15(_UNET)
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device=CPU)
    fill(model.diffusion_model, seed)
    return ModelPatcher(model, load_device=CPU, offload_device=CPU)


def _text_encoder(seed: int) -> nn.Module:
    model = comfy.sd1_clip.SDClipModel(device=CPU, dtype=torch.float32).transformer
    fill(model, seed)
    return model


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in tensors.items()}, path)
