"""A small network and conditionings of a family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.ldm.chroma.model
import comfy.ldm.chroma_radiance.model
import comfy.ldm.flux.model
import comfy.ldm.hunyuan_video.model
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..oracle.networks import fill
from ..places import OFFLOADED, placed
from .family import Family

# Settings that newer ComfyUI has added to older networks.
_LATER = {
    "txt_ids_dims",
    "vec_in_dim",
    "use_x0",
    "use_sequential_txt_ids",
    "use_cond_type_embedding",
    "vision_in_dim",
    "meanflow_sum",
}
_PARAMS = {
    "flux": comfy.ldm.flux.model.FluxParams,
    "chroma": comfy.ldm.chroma.model.ChromaParams,
    "chroma_radiance": comfy.ldm.chroma_radiance.model.ChromaRadianceParams,
    "hunyuan_video": comfy.ldm.hunyuan_video.model.HunyuanVideoParams,
}
_NULL_SEED = 1000


@torch.no_grad()  # as ComfyUI runs: older classes copy weights in place
def network(name: str, family: Family, seed: int) -> ModelPatcher:
    """A MODEL of this family with random weights, as a checkpoint loader would return it."""
    base = getattr(comfy.supported_models, name)
    settings = {} if family.extra is None else {"unet_extra_config": dict(family.extra)}
    config = type(name, (base,), settings)(_known(family.unet_config))
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model(family.checkpoint(), device=OFFLOADED)
    model.eval()
    fill(model.diffusion_model, seed)
    return placed(model)


def condition(family: Family, seed: int) -> list:
    """CONDITIONING of a prompt, as the family's nodes would return it."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    tokens = draw(1, *family.tokens)
    return [[tokens, family.values(draw)]]


def null(family: Family) -> list:
    """CONDITIONING of no prompt."""
    return condition(family, _NULL_SEED)


def _known(unet_config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the running core's network takes."""
    kind = unet_config.get("image_model")
    if kind not in _PARAMS:
        return dict(unet_config)
    known = _PARAMS[kind].__dataclass_fields__
    return {name: value for name, value in unet_config.items() if name in known or name not in _LATER}
