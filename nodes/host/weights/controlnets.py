"""ControlNets in an expert's conditioning."""

from __future__ import annotations

import comfy.model_management
import torch
from comfy.controlnet import ControlBase, ControlNet
from comfy.model_patcher import ModelPatcher

from ..chain.expert_chain import Conditioning
from ..comfyui.devices import with_index
from .differences import same_weights


def controlnets(conditioning: Conditioning | None) -> list[ControlBase]:
    """The ControlNets of a CONDITIONING, with those that they are chained to."""
    chained = []
    for _, values in conditioning or ():
        control = values.get("control")
        while control is not None:
            chained.append(control)
            control = control.previous_controlnet
    return chained


def takes_weights(control: ControlBase) -> bool:
    """Whether a ControlNet copies weights from the network that it steers, as a control LoRA does."""
    return type(control).pre_run not in (ControlBase.pre_run, ControlNet.pre_run)


def device_of_controlnet(control: ControlBase) -> torch.device:
    """The device of a ControlNet: ComfyUI loads all ControlNets to one device and never moves them."""
    named = getattr(control, "load_device", None) or getattr(control, "device", None)
    return with_index(named or comfy.model_management.get_torch_device())


def prepared_alike(control: ControlBase, first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether either MODEL prepares a ControlNet alike for a run: with one schedule and, if it copies any, weights."""
    schedules = [patcher.get_model_object("model_sampling") for patcher in (first, second)]
    return (
        first.model is second.model
        and schedules[0] is schedules[1]
        and (not takes_weights(control) or same_weights(first, second))
    )
