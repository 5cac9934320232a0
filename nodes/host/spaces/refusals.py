"""What is refused of experts of several latent spaces: what a queued prompt shows as well, then what a run shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....mcdm_core.diffusion.schedule import levels_of
from ....mcdm_core.product.plans.joint import check_falling
from ....mcdm_core.product.terms.term_numbers import TermError
from ..chain.expert_chain import Experts, WiredTerm
from ..files.expert_model import ExpertModel
from .run_spaces import RunSpaces, format_of, space_indices, space_name

ONE_FAMILY = "combine models of one family"
OF_SCORES = "scores, which compare their predictions of one sample", "switch scores off"
"""What `check_one_space` says of scores of samples."""

# By how much VAEs shrink pictures, where ComfyUI's formats tell what isn't so; None where it is no whole number.
_RATIOS: dict[str, int | None] = {"SC_Prior": None, "SD_X4": 4, "HunyuanImage21Refiner": 16}
_OF_SOUND = ("ACEAudio",)  # formats of sound that have two dimensions, as pictures have


class InSpace(NamedTuple):
    """An expert and its latent space, as far as a queued prompt or a run shows them.

    Attributes:
        label: The expert's name within a sentence.
        subject: The expert's name at the beginning of one.
        space: The number of its space, counted from 0 along the chain; None if that isn't known.
        works_on: What messages call the space; empty if it isn't known.
        has_vae: Whether a VAE is connected to the expert.
        is_remote: Whether the expert is on a worker.
    """

    label: str
    subject: str
    space: int | None
    works_on: str
    has_vae: bool
    is_remote: bool


def two_spaces(experts: Sequence[InSpace]) -> str | None:
    """The first two experts whose spaces certainly differ, as messages say it; None if there are none."""
    firsts = [experts[index] for index in _firsts(experts)]
    if len(firsts) < 2:
        return None
    first, other = firsts[:2]
    return f"{first.label} works on {first.works_on} and {other.label} on {other.works_on}"


def check_one_space(experts: Sequence[InSpace], user: str, instead: str) -> None:
    """Refuse experts of several latent spaces where something compares their predictions of one sample.

    Args:
        experts: The chain.
        user: What does so, in a message.
        instead: What to do about it, beside choosing other models.

    Raises:
        ValueError: If there certainly are several spaces.
    """
    if told := two_spaces(experts):
        raise ValueError(f"Expected experts of one latent space for {user}, but {told}; {instead}, or {ONE_FAMILY}.")


def check_vaes(experts: Sequence[InSpace], source: str, instead: str = ONE_FAMILY) -> None:
    """Refuse experts of several latent spaces of which one is on a worker, or none has the VAE of its space.

    Args:
        experts: The chain.
        source: Where an expert's VAE comes from, with {} for "its" or "each": "the VAE of {} model".
        instead: What else to do.

    Raises:
        TermError: Of the expert on the worker, or the first expert of the first space without a VAE.
    """
    told = two_spaces(experts)
    if told is None:
        return
    for index, expert in enumerate(experts):
        if expert.is_remote:
            raise TermError(
                f"{expert.subject} is on a worker, and there all experts have to be of one latent space, but {told}. "
                f"Put {expert.label} on this machine, or {instead}.",
                index,
                "model",
            )
    firsts = _firsts(experts)
    having = {expert.space for expert in experts if expert.has_vae}
    lacking = [index for index in firsts if experts[index].space not in having]
    if lacking and None not in having:  # else a VAE of whichever space
        raise TermError(_vaes_needed(experts, firsts, lacking, source, instead), lacking[0], "vae")


def _firsts(experts: Sequence[InSpace]) -> list[int]:
    """The index of the first expert of each space that is known."""
    spaces = [expert.space for expert in experts]
    return [index for index, space in enumerate(spaces) if space is not None and spaces.index(space) == index]


def _vaes_needed(
    experts: Sequence[InSpace], firsts: Sequence[int], lacking: Sequence[int], source: str, instead: str
) -> str:
    """Why spaces need VAEs, and what to connect; begins with the first expert of the first space that lacks one."""
    expert, *others = (experts[index] for index in lacking)
    if not others:
        other = next(experts[index] for index in firsts if index != lacking[0])
        return (
            f"{expert.subject} needs a VAE, because it works on {expert.works_on} and {other.label} on "
            f"{other.works_on}. Connect {source.format('its')} to its vae input, or {instead}."
        )
    listed = " and ".join(f"{other.label} on {other.works_on}" for other in others)
    return (
        f"{expert.subject} works on {expert.works_on} and {listed}, so each needs a VAE. Connect "
        f"{source.format('each')} to the vae input of its expert, or {instead}."
    )


def check_spaces(experts: Experts, latent_image: Tensor, *beside: Tensor) -> RunSpaces:
    """Refuse experts of several latent spaces without the VAEs between these, or for anything but pictures.

    Args:
        experts: The chain.
        latent_image: The latent the run starts from.
        *beside: The latent's further parts, such as a video's sound.

    Returns:
        The spaces.

    Raises:
        ValueError: With one sentence that names the expert and says what to change; a TermError if an input
            of that expert's node mends it.
    """
    spaces = RunSpaces(experts, latent_image)
    if spaces.are_several:
        _check_pictures(experts, latent_image, beside)
        check_vaes(in_spaces(experts), "the VAE of {} model")
        for index, expert in enumerate(experts):
            _check_vae(index, expert)
    return spaces


def in_spaces(experts: Experts) -> list[InSpace]:
    """The experts as the checks of latent spaces see them, which a queued prompt shares."""
    return [
        InSpace(each.label, each.subject, space, space_name(each.model), each.vae is not None, each.workers is not None)
        for each, space in zip(experts, space_indices(experts), strict=True)
    ]


def check_noise(noise: Tensor, sigmas: Tensor) -> None:
    """Refuse runs of several latent spaces that start from noise made elsewhere, leave noise, or raise its level.

    Args:
        noise: The start noise.
        sigmas: Noise levels of the run.

    Raises:
        ValueError: If it starts without noise of its own, ends above 0, or noise levels rise.
    """
    check_falling(levels_of(sigmas))
    if float(sigmas[-1]) != 0 or torch.count_nonzero(noise) == 0:
        raise ValueError(
            "Expected a run that adds its own noise and removes all of it, because the noise of each latent space "
            "stays in the sampler, and got a part of one; sample in one go, or combine models of one family."
        )


def check_guidance(model_options: dict[str, Any]) -> None:
    """Refuse samplers and nodes that want the unconditional estimate, which several spaces don't share.

    Args:
        model_options: The options that a sampler calls the run's product with.

    Raises:
        ValueError: If one does.
    """
    if model_options.get("disable_cfg1_optimization"):
        raise ValueError(
            "Expected a sampler and nodes that don't ask for a common negative, because experts of several latent "
            "spaces have none, and got one that does, as CFG++ samplers do; choose another sampler, "
            "or remove the node."
        )


def check_sampler(sampler: Any) -> None:
    """Refuse a SAMPLER that changes the size of samples, which it can't of several spaces at once.

    Raises:
        ValueError: If it does.
    """
    if getattr(getattr(sampler, "sampler_function", None), "__name__", None) == "sample_lcm_upscale":
        raise ValueError(
            "Expected a sampler that keeps the size of samples, because experts of several latent spaces are sampled "
            "together, and got SamplerLCMUpscale; choose another sampler."
        )


def _check_pictures(experts: Experts, latent_image: Tensor, beside: Sequence[Tensor]) -> None:
    for index, expert in enumerate(experts):
        latent_format = format_of(expert.model)
        if latent_format.latent_dimensions < 2 or type(latent_format).__name__ in _OF_SOUND:
            raise TermError(
                f"Expected models of pictures where experts work on several latent spaces, but {expert.label} makes "
                "none; combine models of one family.",
                index,
                "model",
            )
    frames = latent_image.shape[2] if latent_image.ndim == 5 else 1
    if beside or frames > 1:
        empty = "Empty Latent (Expert)" if isinstance(experts[0].model.model, ExpertModel) else "Empty Latent Image"
        raise ValueError(
            f"Expected a latent of pictures, because {two_spaces(in_spaces(experts))}, and got a video or one with "
            f"sound; start from {empty} or a latent of one frame, or combine models of one family."
        )


def _check_vae(index: int, expert: WiredTerm) -> None:
    vae, latent_format = expert.vae, format_of(expert.model)
    if vae is None:
        return
    wanted = latent_format.latent_dimensions, latent_format.latent_channels, _ratio(latent_format)
    given = vae.latent_dim, vae.latent_channels, vae.spacial_compression_decode()
    ways = (lambda number: "of videos" if number == 3 else "of pictures", "with {} channels".format, _shrinking)
    told = [(way(a), way(b)) for way, a, b in zip(ways, wanted, given, strict=True) if a is not None and a != b]
    if told:
        first, second = (" ".join(words) for words in zip(*told, strict=True))
        needed = f"{expert.subject} needs a VAE {first} and got one {second}"
        raise TermError(f"{needed}; connect the VAE that belongs to its model.", index, "vae")


def _shrinking(ratio: int) -> str:
    return "that keeps the size of pictures" if ratio == 1 else f"that shrinks pictures {ratio} times"


def _ratio(latent_format: Any) -> int | None:
    """By how much a VAE for a latent format shrinks the sides of pictures; None if ComfyUI doesn't tell."""
    ratio: int | None = latent_format.spacial_downscale_ratio
    return _RATIOS.get(type(latent_format).__name__, ratio)
