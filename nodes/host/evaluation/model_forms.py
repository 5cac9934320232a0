"""The forms in which ComfyUI steps MODELs' samples: most as x0 + σ·n, rectified flows (CONST) as (1 − σ)·x0 + k·σ·n."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_sampling
import torch
from comfy.model_patcher import ModelPatcher

from ....mcdm_core.product.evaluation.forms import Form


def is_flow(model_sampling: Any) -> bool:
    """Whether a model's samples are stepped in the rectified-flow form."""
    return isinstance(model_sampling, comfy.model_sampling.CONST)


def starts_from_pictures(model_sampling: Any) -> bool:
    """Whether a model's run starts from a picture without any noise, as FlowRVS's does; it has no noise levels."""
    return isinstance(model_sampling, comfy.model_sampling.IMG_TO_IMG_FLOW)


def on_host(model_sampling: Any) -> Any:
    """A MODEL's schedule for many questions at once, each of which would wait for the device that it is on.

    Args:
        model_sampling: The MODEL's.

    Returns:
        A copy, but for the object itself where it has no buffers on a device, or more than buffers.
    """
    held = vars(model_sampling)
    buffers = {name: buffer for name, buffer in held.get("_buffers", {}).items() if buffer is not None}
    if held.get("_modules") or held.get("_parameters") or all(buffer.is_cpu for buffer in buffers.values()):
        return model_sampling
    copied = copy.copy(model_sampling)
    vars(copied)["_buffers"] = {name: buffer.cpu() for name, buffer in buffers.items()}
    return copied


FormOf = Callable[[ModelPatcher], Form]
"""Gives the form of a MODEL in a run, found once."""


def form_of(model_sampling: Any, shape: Sequence[int]) -> Form:
    """The form of a MODEL; waits for the device that its schedule is on.

    Args:
        model_sampling: The MODEL's.
        shape: The shape of a run's x, (B, C, …), on which k depends in some families.
    """
    flow = is_flow(model_sampling)
    scale = _noise_scale(model_sampling, shape) if flow and not starts_from_pictures(model_sampling) else 1.0
    return Form(flow, scale, float(model_sampling.sigma_min), float(model_sampling.sigma_max))


def _noise_scale(model_sampling: Any, shape: Sequence[int]) -> float:
    """The k of a flow: its x for a noise of 1 and an x0 of 0 at σ = 1, where a run starts."""
    sigma = torch.ones((), dtype=torch.float64)
    noise, nothing = (sigma.new_full((1, *shape[1:]), value) for value in (1.0, 0.0))
    return float(model_sampling.noise_scaling(sigma, noise, nothing, False).flatten()[0])
