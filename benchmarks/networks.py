"""Random networks of the SD1.5 layout in ComfyUI's own classes, small and full-size; no file is read."""

import math
from dataclasses import dataclass
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel, ModelType
from comfy.model_patcher import ModelPatcher
from comfy.taesd.taesd import TAESD
from torch import Tensor, nn

FULL_SIZE = 860_000_000  # parameters of SD1.5's network, by which ComfyUI chooses its dtype
TOKENS = 77
LORA_RANK = 16

LAYOUT = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "legacy": False,
}
_VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "attn_resolutions": [],
}


@dataclass(frozen=True)
class Size:
    """How large a benchmark's networks are.

    Attributes:
        channels: Channels of the first level; SD1.5 has 320, which makes 860 million parameters in all.
        context: Width of a text token.
        latent: Height and width of the latents.
        vae_channels: Channels of the first level of a VAE of SD1.5's layout, which has 128; 0 for TAESD instead.
    """

    channels: int
    context: int
    latent: int
    vae_channels: int = 0


SIZES = {"tiny": Size(32, 16, 16, 32), "small": Size(64, 64, 32), "full": Size(320, 768, 64)}


TIMED = "network"
HOSTS_SIZE = SIZES["small"]  # of which a pass takes some hundred milliseconds on one thread
LATENTS: dict[str, tuple[type[comfy.latent_formats.LatentFormat], tuple[int, ...]]] = {
    "64x64x4": (comfy.latent_formats.SD15, (1, 4, 64, 64)),
    "128x128x16": (comfy.latent_formats.SD3, (1, 16, 128, 128)),
    "video, 5x40x72x16": (comfy.latent_formats.Wan21, (1, 16, 5, 40, 72)),
}
"""Latents of which one is sent at every step, each with what models of such a family say of theirs."""


class Constant(nn.Module):
    """Stands in for a network: answers 0 at no cost."""

    def __init__(self, dtype: torch.dtype, device: torch.device, **_: Any):
        super().__init__()
        self.dtype = dtype
        self.register_buffer("answer", torch.zeros((), device=device))

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """Zeros of x's shape."""
        return self.answer.expand(x.shape)


def network(size: Size, seed: int, latent_format: comfy.latent_formats.LatentFormat | None = None) -> ModelPatcher:
    """A MODEL as a checkpoint loader would return it, with random weights.

    Args:
        size: Of the network.
        seed: Of its weights.
        latent_format: Of its latents; None for SD1.5's.
    """
    model = _model(size, UNetModel, latent_format)
    _fill(model.model.diffusion_model, seed)
    return model


def tiny_vae(size: Size, seed: int) -> comfy.sd.VAE:
    """A VAE as Load VAE returns `taesd`, with random weights; for tiny networks one that is narrower still."""
    config = {"params": {"ddconfig": {**_VAE, "ch": size.vae_channels}, "embed_dim": 4}} if size.vae_channels else None
    coder = AutoencoderKL(**config["params"]) if config else TAESD()
    _fill(coder, seed)
    return comfy.sd.VAE(sd=coder.state_dict(), config=config)


def without_network(size: Size, latent_format: comfy.latent_formats.LatentFormat | None = None) -> ModelPatcher:
    """The same MODEL, but its network is a constant.

    Args:
        size: Of the network.
        latent_format: Of its latents; None for SD1.5's.
    """
    return _model(size, Constant, latent_format)


def made(kind: str, seed: int) -> tuple[ModelPatcher, list, list]:
    """A MODEL with its condition and its null, the same in every process.

    Args:
        kind: One of `LATENTS`, whose network is a constant; or `TIMED`, one of `HOSTS_SIZE`.
        seed: Of all three.
    """
    model = network(HOSTS_SIZE, seed) if kind == TIMED else without_network(HOSTS_SIZE, LATENTS[kind][0]())
    return model, conditioning(HOSTS_SIZE, seed), conditioning(HOSTS_SIZE, 0)


def chosen_dtype() -> torch.dtype:
    """The dtype in which ComfyUI keeps the full-size network on this machine."""
    return comfy.model_management.unet_dtype(
        device=comfy.model_management.get_torch_device(),
        model_params=FULL_SIZE,
        supported_dtypes=comfy.supported_models.SD15.supported_inference_dtypes,
    )


def _model(
    size: Size, kind: type[nn.Module], latent_format: comfy.latent_formats.LatentFormat | None = None
) -> ModelPatcher:
    """On the device and with the dtype that ComfyUI chooses."""
    config = comfy.supported_models.SD15({**LAYOUT, "model_channels": size.channels, "context_dim": size.context})
    config.latent_format = latent_format or config.latent_format
    device, offload_device = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    dtype, dtypes = chosen_dtype(), config.supported_inference_dtypes
    config.set_inference_dtype(dtype, comfy.model_management.unet_manual_cast(dtype, device, dtypes))
    model = BaseModel(config, ModelType.EPS, device=offload_device, unet_model=kind)
    # What loaders make a MODEL of, dynamic where VRAM is.
    return comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=offload_device)


def with_lora(model: ModelPatcher, seed: int) -> ModelPatcher:
    """A clone with a LoRA over the weights of all attention layers."""
    return comfy.sd.load_lora_for_models(model, None, _lora(model, seed), 1.0, 0.0)[0]


def conditioning(size: Size, seed: int) -> list:
    """CONDITIONING as CLIPTextEncode would return it."""
    return [[torch.randn(1, TOKENS, size.context, generator=torch.Generator().manual_seed(seed)), {}]]


def _lora(model: ModelPatcher, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, weight in model.model.named_parameters():
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and weight.ndim == 2 and (".attn1." in name or ".attn2." in name):
            rows, columns = weight.shape
            found[f"{layer}.lora_up.weight"] = torch.randn(rows, LORA_RANK, generator=generator) / rows**0.5
            found[f"{layer}.lora_down.weight"] = torch.randn(LORA_RANK, columns, generator=generator) / columns**0.5
    return found


@torch.no_grad()
def _fill(module: nn.Module, seed: int) -> None:
    """Weights that keep activations near unit size."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0.0, 1 / math.sqrt(parameter[0].numel()), generator=generator)
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
