"""Where ComfyUI has a network compute, and where it keeps it meanwhile.

Imports ComfyUI: import it after the `pack` fixture has made it importable.
"""

import comfy.model_management
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher

HERE = comfy.model_management.get_torch_device()
OFFLOADED = comfy.model_management.unet_offload_device()
# The CPU stands for two devices under two of its names; ComfyUI tells devices by name.
DEVICES = [HERE, torch.device(HERE.type, 1)]


def placed(network: BaseModel) -> ModelPatcher:
    """A network as a classic MODEL."""
    return ModelPatcher(network, load_device=HERE, offload_device=OFFLOADED)
