"""The product of experts of several spaces as one denoiser, of samples that hold a part for every space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...diffusion.schedule import levels_of
from ...expert.expert import Expert
from ...networks.autoencoder import COLORS
from ..methods.method import Method, Setting
from ..plans.joint import PlanAcrossSpaces, check_falling, spaces_ahead
from ..rules.eq10 import EQ10
from ..rules.rule import Rule
from ..spaces import JointSpaces, Space, resized, size_like
from ..terms.term import Term
from .term_networks import ExpertPoint
from .united import UnitedDenoiser


class JointDenoiser(UnitedDenoiser):
    """Combines terms of several spaces: pictures of different sizes, latents of different VAEs.

    Samplers see joint samples, see `JointSpaces`: `start_noise` makes one of noise, `reference_part` takes the first
    expert's sample out of it. In every call each expert predicts x0 of the sample in its own space. The predictions are
    combined in the space of the first expert, see `plans/joint.py`, and the result is carried to the other spaces.

    Args:
        terms: At least one for each of two spaces or more; masks may have any size.
        size: Height and width of a sample of the first expert. Those of the other spaces have its aspect ratio and
            about as many pixels as their first expert was trained on.
        rule: See `UnitedDenoiser`.
        settings: Likewise.

    Attributes:
        spaces: The spaces, in the order in which their first experts come.
        space_of: For each term the index of its space.

    Raises:
        ValueError: As `UnitedDenoiser`; or if an expert on latents has no VAE, or experts' pictures have different
            numbers of channels.
    """

    def __init__(
        self, terms: Sequence[Term], size: tuple[int, int], rule: Rule = EQ10, settings: Sequence[Setting | Method] = ()
    ):
        experts = {term.expert.space: term.expert for term in reversed(terms)}
        order = list(dict.fromkeys(term.expert.space for term in terms))
        pixels = size[0] * terms[0].expert.downscale, size[1] * terms[0].expert.downscale
        self.spaces = JointSpaces([_space(experts[key], pixels, key == order[0]) for key in order])
        self.space_of = [order.index(term.expert.space) for term in terms]
        self._make_plan = PlanAcrossSpaces(self.spaces, self.space_of)
        super().__init__(terms, rule=rule, settings=settings)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Predict x0 of all parts of joint samples (B, 1, N), see `UnitedDenoiser`.

        Returns:
            Shape of x. The part of a space that no expert will be asked in any more is returned as it came.
        """
        evaluation, _ = self._evaluate(x, sigma, self._planner(x))
        combined = self._combined(evaluation)
        ahead = spaces_ahead(self.windows, self.space_of, evaluation.point.level)
        parts = self.spaces.unpack(x)
        parts[0] = combined
        for space, x0 in self.spaces.from_reference(combined, ahead).items():
            clamps = self.terms[self.space_of.index(space)].expert.clamp_x0
            parts[space] = (x0.clamp(-1, 1) if clamps else x0) / self.spaces.kappas[space]
        return self.spaces.pack(parts)

    def start_noise(self, noise: Tensor) -> Tensor:
        """A joint sample of the noise, with that of `JointSpaces.noise_of` in the other parts."""
        others = range(1, len(self.spaces.spaces))
        return self.spaces.pack([noise, *(self.spaces.noise_of(space, noise) for space in others)])

    def reference_part(self, x: Tensor) -> Tensor:
        """The first part of a joint sample, shape (B, C, H, W)."""
        return self.spaces.unpack(x)[0]

    def check_run(self, x: Tensor, sigmas: Sequence[float] | Tensor) -> None:
        """Refuse a run that could not finish, before any network is called, see `UnitedDenoiser.check_run`.

        Raises:
            ValueError: As there, or if noise levels rise: a space is left behind once its last expert has acted.
        """
        check_falling(levels_of(sigmas))
        super().check_run(x, sigmas)

    def _check_experts(self) -> None:
        """Refuse experts whose pictures can't be each other's, such as latents that are taken for pictures."""
        experts = [self.terms[self.space_of.index(space)].expert for space in range(len(self.spaces.spaces))]
        channels = [expert.channels if expert.load_vae is None else COLORS for expert in experts]
        for expert, own in zip(experts, channels, strict=True):
            if own != channels[0]:
                raise ValueError(
                    "Expected pictures of one number of channels to carry from space to space, and those of "
                    f"{experts[0].name} have {channels[0]} and those of {expert.name} {own}; pass `downscale` and "
                    "`load_vae` to the Expert that makes latents, or combine experts of one space."
                )

    def _points(self, x: Tensor, sigma: Tensor | float) -> list[ExpertPoint]:
        parts = self.spaces.unpack(x)
        scaled = [(k * part, sigma * k) for k, part in zip(self.spaces.kappas, parts, strict=True)]
        return [scaled[space] for space in self.space_of]

    def _masks(self, x: Tensor) -> list[Tensor | None]:
        return [_mask(term, self.spaces.spaces[0].size, x) for term in self.terms]


def several_spaces(terms: Sequence[Term]) -> bool:
    """Whether the experts' samples are of more than one space."""
    return len({term.expert.space for term in terms}) > 1


def _space(expert: Expert, reference: tuple[int, int], is_reference: bool) -> Space:
    """The space of an expert, with the size that goes with the reference's pictures (height and width in pixels).

    Raises:
        ValueError: If its samples are latents, and it has no VAE.
    """
    if expert.downscale > 1 and expert.load_vae is None:
        raise ValueError(
            f"Expected a VAE for {expert.name}, whose latents are of another space than other experts', and got none; "
            "pass `load_vae` to Expert or, if they share one, the others' `channels`, the `vae` of their metadata and "
            "`clamp_x0=False`."
        )
    step = expert.downscale * getattr(expert.network, "divisor", 1)
    pixels = reference if is_reference else size_like(reference, expert.image_size, step)
    height, width = (side // expert.downscale for side in pixels)
    bounded = expert.clamp_x0 or expert.load_vae is not None  # else it is made up, and its samples have no range

    def decode(samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            pictures = expert.decode(samples)
        return pictures.clamp(-1, 1) if bounded else pictures

    def encode(pictures: Tensor) -> Tensor:
        with torch.autocast(pictures.device.type, enabled=False):
            return expert.encode(pictures)

    return Space((expert.channels, height, width), pixels, decode, encode)


def _mask(term: Term, size: tuple[int, int], x: Tensor) -> Tensor | None:
    """A term's mask in the size of the reference's samples."""
    mask = term.mask_of_any_size(x)
    return None if mask is None else resized(mask, size).clamp(0, 1)
