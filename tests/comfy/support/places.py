"""Where ComfyUI has a network compute, and where it keeps it meanwhile."""

from typing import Any

import comfy.model_management
import torch
from comfy.latent_formats import LatentFormat
from comfy.model_base import BaseModel, ModelType
from comfy.model_patcher import ModelPatcher
from comfy.supported_models_base import BASE
from torch import nn

HERE = comfy.model_management.get_torch_device()
OFFLOADED = comfy.model_management.unet_offload_device()
# The CPU stands for two devices under two of its names; ComfyUI tells devices by name.
DEVICES = [HERE, torch.device(HERE.type, 1)]


def placed(network: BaseModel) -> ModelPatcher:
    """A network as a classic MODEL."""
    return ModelPatcher(network, load_device=HERE, offload_device=OFFLOADED)


def around(
    network: nn.Module, space: type[LatentFormat], kind: ModelType = ModelType.EPS, **sampling: Any
) -> BaseModel:
    """ComfyUI's model around a network of the tests' own, with these settings of its schedule."""
    config = type("Config", (BASE,), {"latent_format": space})({"disable_unet_model_creation": True})
    config.sampling_settings = sampling
    model = BaseModel(config, kind)
    model.diffusion_model = network
    return model
