"""A small network and conditionings of a family."""

from __future__ import annotations

import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..oracle.networks import fill
from ..places import OFFLOADED, placed
from .family import Family

_NULL_SEED = 1000


@torch.no_grad()  # as ComfyUI runs: older classes copy weights in place
def network(name: str, family: Family, seed: int) -> ModelPatcher:
    """A MODEL of this family with random weights, as a checkpoint loader would return it."""
    base = getattr(comfy.supported_models, name)
    settings = {} if family.extra is None else {"unet_extra_config": dict(family.extra)}
    config = type(name, (base,), settings)(dict(family.unet_config))
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
