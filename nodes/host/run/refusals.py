"""Refusals of a run, before any network is called, and warnings of what has no effect in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import comfy.model_base
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....mcdm_core.product.terms.term_numbers import TermError
from ..chain.attachments import check_wrappers, hooks_on_guidance
from ..chain.expert_chain import LABELS, PRODUCT_KEY, Conditioning, Conds, Experts, WiredTerm
from ..comfyui.devices import device_of
from ..comfyui.latents import is_one_frame
from ..files.expert_model import ExpertModel, clamp_pixels
from ..files.reads import LatentSizeError
from ..spaces.refusals import check_spaces
from ..spaces.run_spaces import RunSpaces, space_name
from ..weights.differences import controlnets_of, device_of_controlnet, prepared_alike

logger = logging.getLogger(__name__)

# Path to the width of a text token in the configuration of models that read tokens as they are.
_TOKEN_WIDTH: dict[type, tuple[str, ...]] = {
    comfy.model_base.BaseModel: ("context_dim",),
    comfy.model_base.SDXL: ("context_dim",),
    comfy.model_base.SD3: ("context_embedder_config", "params", "in_features"),
    comfy.model_base.AuraFlow: ("cond_seq_dim",),
    comfy.model_base.Flux: ("context_in_dim",),
    comfy.model_base.Chroma: ("context_in_dim",),
    comfy.model_base.Lumina2: ("cap_feat_dim",),
}

# What a latent of so many dimensions mostly is of; the batch and the channels count.
_MOSTLY_OF = {3: "sound", 4: "a picture", 5: "a video"}


def checked_spaces(experts: Experts, latent_image: Tensor, *beside: Tensor) -> RunSpaces:
    """The latent spaces of a run, after the checks of its experts against this latent.

    Args:
        experts: The chain.
        latent_image: The latent the run starts from, shape (B, C, H, W) or (B, C, T, H, W).
        *beside: The latent's further parts, such as a video's sound.

    Raises:
        ValueError: If the chain can't be sampled from it, with one sentence that names the expert by its place in the
            chain and says what to change; a TermError if an input of that expert's node mends it.
    """
    _check_nested(experts)
    check_wrappers(experts)
    _check_devices(experts)
    spaces = check_spaces(experts, latent_image, *beside)
    _check_latent(experts, latent_image, packed=bool(beside))
    for index, expert in enumerate(experts):
        with _mended_by(index, "mask"):
            _check_mask(expert, latent_image)
        for role, conditioning in expert.conditionings.items():
            own, elsewhere = latent_image, spaces.index_of(expert.model) > 0
            if elsewhere:
                own = own.new_empty(spaces.shape_of(expert.model, own.shape))
            with _mended_by(index, role):
                _check_conditioning(expert, LABELS[role], conditioning, own, elsewhere)
    _check_controlnets(experts)
    return spaces


@contextmanager
def _mended_by(index: int, name: str) -> Iterator[None]:
    """Make what is refused inside a `TermError` of an expert's input, but for the size of the run's latent."""
    try:
        yield
    except LatentSizeError:
        raise
    except ValueError as error:
        raise TermError(str(error), index, name) from error.__cause__  # the same sentence isn't logged twice


def _check_nested(experts: Experts) -> None:
    """Refuse products as experts; the reference of a product that is itself a MODEL looks like one."""
    for index, expert in enumerate(experts):
        if expert.model is not experts[0].model and expert.model.get_wrappers(WrappersMP.OUTER_SAMPLE, PRODUCT_KEY):
            raise TermError(
                f"Expected a model for {expert.label} and got a product from Product as Model; chain that "
                "product's experts instead.",
                index,
                "model",
            )


def _check_devices(experts: Experts) -> None:
    """Refuse a network that is to be on two devices, and ControlNets that are not on their expert's device."""
    first: dict[int, WiredTerm] = {}
    for index, expert in enumerate(experts):
        other = first.setdefault(id(expert.model.model), expert)
        devices = [device_of(each.model) for each in (other, expert)]
        if devices[0] != devices[1]:
            raise TermError(
                f"Expected a network on one device, but {other.label} and {expert.label} share one and are to be on "
                f"{devices[0]} and {devices[1]}; choose the same device for both, or give one of them a copy of the "
                "file.",
                index,
                "model",
            )
        for _, control in controlnets_of(expert):
            if device_of_controlnet(control) != devices[1]:
                raise TermError(
                    f"Expected a ControlNet on the device of {expert.label}, {devices[1]}, and got one on "
                    f"{device_of_controlnet(control)}, which ComfyUI cannot move; move another expert in its place.",
                    index,
                    "model",
                )


def check_packed(experts: Experts, conds: Sequence[Conds]) -> None:
    """Refuse a nested latent, such as a video and its sound, if an expert makes a single latent.

    Args:
        experts: The chain.
        conds: Each expert's processed conditioning, which tells networks how to unpack a nested latent.

    Raises:
        ValueError: If an expert makes a single latent, or two carry the sound at different scales.
    """
    scales = [getattr(expert.model.get_model_object("model_sampling"), "audio_scale", 1.0) for expert in experts]
    for expert, own, scale in zip(experts, conds, scales, strict=True):
        entries = [entry for role in own.values() for entry in role]
        if not all("latent_shapes" in entry.get("model_conds", {}) for entry in entries):
            raise ValueError(
                f"Expected a model that makes all of a nested latent for {expert.label}, a video and its sound say, "
                "and got one that makes a single latent; sample the parts apart, or choose another model."
            )
        if scale != scales[0]:
            raise ValueError(
                f"Expected experts that carry the sound at one scale, but {experts[0].label} does at {scales[0]:g} and "
                f"{expert.label} at {scale:g}; give their MODELs the same shifts."
            )


def _check_latent(experts: Experts, latent_image: Tensor, packed: bool) -> None:
    latent_format = experts[0].model.get_model_object("latent_format")
    own = isinstance(experts[0].model.model, ExpertModel)
    empty = "Empty Latent (Expert)" if own else "the empty latent that ComfyUI has for this model's family"
    dimensions = latent_format.latent_dimensions + 2
    if latent_image.ndim != dimensions:
        wanted, got = (
            f"{number} dimensions (mostly {_MOSTLY_OF.get(number, 'something else')})"
            for number in (dimensions, latent_image.ndim)
        )
        raise ValueError(
            f"Expected a latent of {wanted} for {experts[0].label}, which works on {space_name(experts[0].model)}, and "
            f"got one of {got}; start from {empty}."
        )
    # A packed latent's format counts the channels of the part that has most.
    channels = latent_format.latent_channels
    if latent_image.shape[1] > channels or (latent_image.shape[1] < channels and not packed):
        raise ValueError(
            f"Expected a latent of {latent_format.latent_channels} channels for {experts[0].label} and got one of "
            f"{latent_image.shape[1]}; encode the picture with this model's own VAE, or start from {empty}."
        )


def _check_mask(expert: WiredTerm, latent_image: Tensor) -> None:
    mask, name = expert.mask, expert.label
    if mask is None:
        return
    if mask.ndim < 2 or latent_image.ndim < 4 or mask.numel() == 0:  # which Crop Mask may make
        raise ValueError(
            f"Expected a mask and a latent that have a height and a width for {name} and got the shapes "
            f"{tuple(mask.shape)} and {tuple(latent_image.shape)}; disconnect the mask."
        )
    if not mask.isfinite().all():
        raise ValueError(f"Expected mask values from 0 to 1 for {name} and got NaN or infinity; repair the mask.")
    masks, pictures = mask.numel() // mask.shape[-2:].numel(), len(latent_image)
    of_pictures = latent_image.ndim == 4 or is_one_frame(latent_image.shape)
    if of_pictures and masks not in (1, pictures):
        raise ValueError(
            f"Expected one mask for {name}, or one for each of the {pictures} pictures, and got {masks}; choose one, "
            "or change the batch size."
        )


def _check_conditioning(
    expert: WiredTerm, role: str, conditioning: Conditioning, latent_image: Tensor, elsewhere: bool
) -> None:
    """Refuse a condition that an expert can't read; `elsewhere` is whether the latent is not of the run's space."""
    network, name = expert.model.model, expert.label
    if not conditioning:
        raise ValueError(
            f"Expected a {role} conditioning with an entry for {name} and got an empty one; connect another."
        )
    for tokens, values in conditioning:
        if isinstance(network, ExpertModel):
            _check_expert_conditioning(network, name, role, {**values, "cross_attn": tokens}, latent_image, elsewhere)
        elif isinstance(tokens, Tensor) and (width := _token_width(network)) not in (None, tokens.shape[-1]):
            raise ValueError(
                f"Expected a {role} conditioning of {width} values per token for {name} and got {tokens.shape[-1]}; "
                "encode it with the CLIP of the same checkpoint."
            )


def _token_width(network: comfy.model_base.BaseModel) -> int | None:
    """Values per token that a network reads; None if its configuration doesn't say."""
    width: Any = network.model_config.unet_config if type(network) in _TOKEN_WIDTH else None
    for name in _TOKEN_WIDTH.get(type(network), ()):
        width = width.get(name) if isinstance(width, dict) else None
    return width if isinstance(width, int) else None


def _check_expert_conditioning(
    network: ExpertModel, name: str, role: str, values: dict[str, Any], latent_image: Tensor, elsewhere: bool
) -> None:
    if "control" in values:
        raise ValueError(
            f"Expected no ControlNet for {name}, an expert of this pack, and got one in its {role}; add an expert "
            "that is driven by the map instead."
        )
    try:
        network.extra_conds(**{**values, "noise": latent_image, "device": latent_image.device})
    except LatentSizeError as error:
        proportions = (
            f"its map is of {error.expected} pixels, and in the proportions of this latent its pictures are of "
            f"{error.given}; start from a latent in the proportions of the map."
        )
        why = proportions if elsewhere else str(error)
        raise LatentSizeError(f"Wrong latent for {name}: {why}", error.expected, error.given) from error
    except ValueError as error:
        raise ValueError(f"Wrong {role} for {name}: {error}") from error


def _check_controlnets(experts: Experts) -> None:
    owners: dict[int, int] = {}
    for index, expert in enumerate(experts):
        for role, control in controlnets_of(expert):
            owner = owners.setdefault(id(control), index)
            if not prepared_alike(control, experts[owner].model, expert.model):
                raise TermError(
                    f"Expected a ControlNet of its own for {expert.label} and got the one that "
                    f"{experts[owner].label} uses; add a second Apply ControlNet node for it.",
                    index,
                    role,
                )


def warn_of_idle_hooks(experts: Experts) -> None:
    """Name the experts whose CFG hooks don't run: only the reference's do, see `CfgHooks`."""
    hooks = [[*chain(*hooks_on_guidance(expert.model).values())] for expert in experts]
    for expert, own in zip(experts, hooks, strict=True):
        elsewhere = getattr(expert.model.model, "guidance", [])  # of a MODEL on a worker, where they don't run
        if elsewhere or any(hook not in (*hooks[0], clamp_pixels) for hook in own):
            logger.warning(
                "The guidance node on the MODEL of %s does nothing: only the first expert's runs. Attach it to the "
                "first expert's MODEL.",
                expert.label,
            )


def warn_of_idle_conditions(experts: Experts) -> None:
    """Say so where experts have conditions and all weights are 0, so that none has an effect."""
    if any(expert.condition is not None for expert in experts) and all(expert.weight == 0 for expert in experts):
        logger.warning("Every weight is 0, so the picture follows no prompt; raise the weight of a Diffusion Expert.")
