"""What is refused of experts of several latent spaces, when a prompt is queued as when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ....mcdm_core.product.term_numbers import TermError

ONE_FAMILY = "combine models of one family"


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


def check_scores(experts: Sequence[InSpace]) -> None:
    """Refuse scores of samples in several latent spaces.

    Raises:
        ValueError: See `check_one_space`.
    """
    check_one_space(experts, "scores, which compare their predictions of one sample", "switch scores off")


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
