"""ControlNets in an expert's conditioning."""

from __future__ import annotations

import comfy.model_management
import torch
from comfy.controlnet import ControlBase, ControlNet
from comfy.model_patcher import ModelPatcher

from ..chain.expert_chain import Conditioning
from ..comfyui.devices import by_one_name
from .differences import same_weights


def controlnets(conditioning: Conditioning | None) -> list[ControlBase]:
    """Those of a CONDITIONING, with all that they are chained to."""
    found = []
    for _, values in conditioning or ():
        control = values.get("control")
        while control is not None:
            found.append(control)
            control = control.previous_controlnet
    return found


def takes_weights(control: ControlBase) -> bool:
    """Whether a ControlNet takes weights of the network that it steers."""
    return type(control).pre_run not in (ControlBase.pre_run, ControlNet.pre_run)


def device_of_controlnet(control: ControlBase) -> torch.device:
    """The device that a ControlNet works on: ComfyUI loads all to one, and moves none."""
    named = getattr(control, "load_device", None) or getattr(control, "device", None)
    return by_one_name(named or comfy.model_management.get_torch_device())


def prepared_alike(control: ControlBase, first: ModelPatcher, second: ModelPatcher) -> bool:
    """Whether a ControlNet takes the same from either MODEL before a run: its schedule, and of some kinds weights."""
    schedules = [patcher.get_model_object("model_sampling") for patcher in (first, second)]
    return (
        first.model is second.model
        and schedules[0] is schedules[1]
        and (not takes_weights(control) or same_weights(first, second))
    )
