"""Small networks with seeded random weights, in ComfyUI's own classes and in one latent space."""

import math
from collections.abc import Callable

import comfy.cldm.cldm
import comfy.cldm.mmdit
import comfy.controlnet
import comfy.latent_formats
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import torch
from comfy.model_base import BaseModel, ModelType
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..families.family import WIDTH as CONTEXT
from ..families.transformers import SCHNELL
from ..families.unets import HEADS, UNET
from ..places import HERE, OFFLOADED

POOLED = 1280  # width of the pooled text, as SDXL's encoder has it

_ADM = {"num_classes": "sequential", "adm_in_channels": POOLED + 6 * 256}
_MMDIT = {
    "input_size": None,
    "patch_size": 2,
    "in_channels": 4,
    "depth": 2,
    "pos_embed_scaling_factor": None,
    "adm_in_channels": POOLED,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": CONTEXT, "out_features": 128}},
}
_FLUX = {**SCHNELL, "vec_in_dim": POOLED}


class SD2V(comfy.supported_models.SD20):
    unet_extra_config = HEADS

    def model_type(self, state_dict, prefix=""):
        return ModelType.V_PREDICTION


class SDXL(comfy.supported_models.SDXL):
    unet_extra_config = HEADS
    latent_format = comfy.latent_formats.SD15


class SD3(comfy.supported_models.SD3):
    latent_format = comfy.latent_formats.SD15


LAYOUTS = {
    "eps": (comfy.supported_models.SD15, {**UNET, "use_linear_in_transformer": False}),
    "v": (SD2V, {**UNET, "use_linear_in_transformer": True}),
    "flow": (SD3, _MMDIT),
    "SDXL": (SDXL, {**UNET, **_ADM, "use_linear_in_transformer": True}),
    "Flux": (comfy.supported_models.Flux, _FLUX),  # in a space of its own
}


def network(layout: str, seed: int, dtype: torch.dtype = torch.float32, disable_dynamic: bool = False) -> ModelPatcher:
    """A MODEL of this layout, as a checkpoint loader would return it.

    Args:
        layout: A key of `LAYOUTS`.
        seed: Seed of its weights.
        dtype: Dtype of the weights; the network computes in float32.
        disable_dynamic: Whether to make a classic ModelPatcher even where ComfyUI's loaders make dynamic ones.
    """
    base, unet_config = LAYOUTS[layout]
    config = base(unet_config)
    config.set_inference_dtype(dtype, None if dtype == torch.float32 else torch.float32)
    model = config.get_model({}, device=OFFLOADED)
    fill(model.diffusion_model, seed)
    return as_loaded(model, disable_dynamic, (network, (layout, seed, dtype)))


def as_loaded(model: BaseModel, disable_dynamic: bool, init: tuple[Callable, tuple]) -> ModelPatcher:
    """A network as a loader of ComfyUI's returns it.

    Args:
        model: The network.
        disable_dynamic: Whether to make a classic ModelPatcher in any case.
        init: A function that makes the same MODEL again and takes `disable_dynamic`, and its other arguments.
    """
    loaders = comfy.model_patcher.CoreModelPatcher
    patcher = (ModelPatcher if disable_dynamic else loaders)(model, load_device=HERE, offload_device=OFFLOADED)
    patcher.cached_patcher_init = init
    return patcher


def controlnet(model: ModelPatcher, seed: int) -> comfy.controlnet.ControlNet:
    """A ControlNet of the same layout, as ControlNetLoader would return it. Its hints are RGB pictures."""
    config = {
        **model.model.model_config.unet_config,
        "dtype": torch.float32,
        "operations": comfy.ops.disable_weight_init,
    }
    if "patch_size" in config:
        net = comfy.cldm.mmdit.ControlNet(num_blocks=1, control_latent_channels=3, **config)
        ratio = 1
    else:
        del config["out_channels"]
        net = comfy.cldm.cldm.ControlNet(hint_channels=3, **config)
        ratio = 8
    fill(net, seed)
    return comfy.controlnet.ControlNet(net, compression_ratio=ratio, load_device=HERE)


def lora(model: ModelPatcher, seed: int, rank: int = 4) -> dict[str, Tensor]:
    """State dict of a LoRA on all linear layers, in ComfyUI's generic naming."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, weight in model.model.state_dict().items():
        if name.startswith("diffusion_model.") and name.endswith(".weight") and weight.ndim == 2:
            rows, columns = weight.shape
            layer = name.removesuffix(".weight")
            found[f"{layer}.lora_up.weight"] = torch.randn(rows, rank, generator=generator) / math.sqrt(rank)
            found[f"{layer}.lora_down.weight"] = torch.randn(rank, columns, generator=generator) / math.sqrt(columns)
    return found


@torch.no_grad()
def fill(module: nn.Module, seed: int) -> None:
    """Draw weights that keep activations near unit size; none is zero, so that all have an effect.

    Drawn too are the buffers that a checkpoint would set, such as positional embeddings: they start uninitialized.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(noise / math.sqrt(parameter[0].numel()))
        else:
            parameter.copy_(0.1 * noise + (1.0 if name.endswith(("weight", "scale")) else 0.0))
    generator = torch.Generator().manual_seed(seed)
    kept = module.state_dict().keys()
    for name, buffer in module.named_buffers():
        if name in kept and buffer.is_floating_point():
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
