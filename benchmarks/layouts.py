"""Networks of the real layouts of SD1.5 and SDXL, for the stand-in accelerator: what they hold has no values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from .networks import LAYOUT, TOKENS

_SDXL = {
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
    "num_head_channels": 64,
}
_POOLED = 1280  # width of SDXL's pooled text
_LARGEST_LATENT = 1 << 20  # bytes; what is larger is hollow in every run


@dataclass(frozen=True, eq=False)
class Family:
    """A family of checkpoints.

    Attributes:
        name: As users know it.
        parameters: Of its network, by which ComfyUI chooses a dtype.
        side: Height and width of its latents at the size that it was trained on.
        context: Width of a text token.
        config: ComfyUI's class of its configuration.
        model: ComfyUI's class of its model.
        unet: The layout of its network.
    """

    name: str
    parameters: int
    side: int
    context: int
    config: type
    model: type[comfy.model_base.BaseModel]
    unet: dict[str, Any]

    def checkpoint(self) -> ModelPatcher:
        """A MODEL as a checkpoint loader would return it, in the dtype that ComfyUI chooses; read from no file."""
        device = comfy.model_management.get_torch_device()
        config = self.config({**self.unet, "model_channels": 320, "context_dim": self.context})
        dtypes = config.supported_inference_dtypes
        dtype = comfy.model_management.unet_dtype(device, model_params=self.parameters, supported_dtypes=dtypes)
        config.set_inference_dtype(dtype, comfy.model_management.unet_manual_cast(dtype, device, dtypes))
        offload = comfy.model_management.unet_offload_device()
        model = self.model(config, device=offload)
        _quiet(model.diffusion_model)
        return comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=offload)

    def conditioning(self, seed: int) -> list:
        """CONDITIONING as CLIPTextEncode would return it."""
        generator = torch.Generator().manual_seed(seed)
        text = torch.randn(1, TOKENS, self.context, generator=generator)
        return [[text, {"pooled_output": torch.randn(1, _POOLED, generator=generator)}]]


SD15 = Family(
    "SD1.5", 860_000_000, 64, 768, comfy.supported_models.SD15, comfy.model_base.BaseModel, {**LAYOUT, "num_heads": 8}
)
SDXL = Family("SDXL", 2_567_000_000, 128, 2048, comfy.supported_models.SDXL, comfy.model_base.SDXL, {**LAYOUT, **_SDXL})


@torch.no_grad()
def _quiet(network: nn.Module) -> None:
    """Set the weights that may hold values on the accelerator; all others lie in memory that nothing writes to."""
    for parameter in network.parameters():
        if parameter.nbytes <= _LARGEST_LATENT:
            parameter.zero_()
