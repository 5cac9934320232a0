"""The sentence that asks for the VAEs of experts of several latent spaces, when a prompt is queued and when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Named(Protocol):
    """What messages call an expert."""

    @property
    def label(self) -> str:
        """Within a sentence."""

    @property
    def subject(self) -> str:
        """At the beginning of one."""


def vaes_needed(firsts: Sequence[tuple[Named, str]], lacking: Sequence[int], source: str, instead: str) -> str:
    """What is said where latent spaces have no VAE; it begins with the first expert of the first of these spaces.

    Args:
        firsts: The first expert of each space, and the name of the space; at least two.
        lacking: Indices of the spaces that lack a VAE, at least one.
        source: Where an expert's VAE comes from, with {} for "its" or "each": "the VAE of {} model".
        instead: What else to do.

    Returns:
        One or two sentences: why, and what to connect.
    """
    expert, space = firsts[lacking[0]]
    others = [firsts[place] for place in lacking[1:]]
    if not others:
        other, beside = firsts[0 if lacking[0] else 1]
        return (
            f"{expert.subject} needs a VAE, because it works on {space} and {other.label} on {beside}. Connect "
            f"{source.format('its')} to its vae input, or {instead}."
        )
    listed = " and ".join(f"{other.label} on {its}" for other, its in others)
    return (
        f"{expert.subject} works on {space} and {listed}, so each needs a VAE. Connect {source.format('each')} to the "
        f"vae input of its expert, or {instead}."
    )
