"""What a product cannot be sampled with, said before anything is loaded."""

from __future__ import annotations

from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .chain import PRODUCT_KEY, Conditioning, Experts, describe
from .levels import same_space


def check_experts(experts: Experts, latent_image: Tensor) -> None:
    """Refuse chains that no run could use.

    Args:
        experts: The chain.
        latent_image: The latent the run starts from, shape (B, C, H, W) or (B, C, T, H, W).

    Raises:
        ValueError: With one sentence that names the expert by its place in the chain and says what to change.
    """
    for index, expert in enumerate(experts):
        if expert.condition is None and expert.weight != 0:
            raise ValueError(
                f"Expected a condition for {describe(experts, index)}, whose weight is {expert.weight:g}, and got "
                "none; connect one, or set the weight to 0 so that the expert only lends its null."
            )
        if not expert.start < expert.end:
            raise ValueError(
                f"Expected start below end for {describe(experts, index)} and got {expert.start:g} and {expert.end:g}; "
                "swap them, or remove the expert."
            )
    _check_nested(experts)
    _check_spaces(experts)
    _check_channels(experts, latent_image)
    _check_controlnets(experts)


def _check_nested(experts: Experts) -> None:
    """Refuse products as experts; the reference of a product that is itself a MODEL looks like one."""
    for index, expert in enumerate(experts[1:], start=1):
        if expert.model.get_wrappers(WrappersMP.OUTER_SAMPLE, PRODUCT_KEY):
            raise ValueError(
                f"Expected a model for {describe(experts, index)} and got a product from Product as Model; chain that "
                "product's experts instead."
            )


def _check_spaces(experts: Experts) -> None:
    reference = experts[0].model.get_model_object("latent_format")
    for index, expert in enumerate(experts):
        latent_format = expert.model.get_model_object("latent_format")
        if not same_space(reference, latent_format):
            raise ValueError(
                f"Expected experts of one latent space, but {describe(experts, 0)} works on {_space(reference)} and "
                f"{describe(experts, index)} on {_space(latent_format)}; combine models of one family."
            )


def _space(latent_format: Any) -> str:
    return f"{type(latent_format).__name__} ({latent_format.latent_channels} channels)"


def _check_channels(experts: Experts, latent_image: Tensor) -> None:
    latent_format = experts[0].model.get_model_object("latent_format")
    channels = latent_format.latent_channels
    if latent_image.shape[1] != channels and torch.count_nonzero(latent_image) > 0:
        raise ValueError(
            f"Expected a latent of {channels} channels for {describe(experts, 0)} and got one of "
            f"{latent_image.shape[1]}; encode the picture with this model's own VAE, or start from Empty Latent "
            "(Expert)."
        )


def _check_controlnets(experts: Experts) -> None:
    owners: dict[int, int] = {}
    for index, expert in enumerate(experts):
        for conditioning in (expert.condition, expert.null):
            for control in _controlnets(conditioning):
                owner = owners.setdefault(id(control), index)
                if experts[owner].model.model is not expert.model.model:
                    raise ValueError(
                        f"Expected a ControlNet of its own for {describe(experts, index)} and got the one that "
                        f"{describe(experts, owner)} uses; add a second Apply ControlNet node for it."
                    )


def _controlnets(conditioning: Conditioning | None) -> list[Any]:
    found = []
    for _, values in conditioning or ():
        control = values.get("control")
        while control is not None:
            found.append(control)
            control = control.previous_controlnet
    return found
