"""What ComfyUI gives a run, and the workers that are told of it, without knowing how these are reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..evaluation.noise_levels import Forms
from ..evaluation.requests import AskedWorkers
from ..spaces.joint_sample import JointState


class RunInputs(NamedTuple):
    """What ComfyUI gives a run, in the shape of the samples of one of its MODELs.

    Attributes:
        noise: Start noise, shape (B, C, …).
        latent_image: The latent as it came in, before any model's scaling.
        denoise_mask: Noise mask in the shape of the noise; None is everywhere.
        sigmas: Noise levels in the reference's form, shape (S + 1,).
        seed: The seed of the run.
        latent_shapes: Shapes of the parts of the latent; None where ComfyUI doesn't tell, and there is one.
    """

    noise: Tensor
    latent_image: Tensor
    denoise_mask: Tensor | None
    sigmas: Tensor
    seed: int | None
    latent_shapes: Sequence[Sequence[int]] | None

    @property
    def shapes(self) -> Sequence[Sequence[int]]:
        """Shapes of the parts of the latent; most have one part."""
        return self.latent_shapes or [self.noise.shape]

    def of_model(self, patcher: ModelPatcher, state: JointState) -> RunInputs:
        """The reference's inputs in the shape of a MODEL's samples, with which its conditioning is processed.

        Args:
            patcher: The MODEL.
            state: The state of the run, in the latent spaces of its experts.
        """
        spaces = state.spaces
        index = spaces.index_of(patcher)
        if index == 0:
            return self
        noise, latent = (spaces.framed(patcher, each[index]) for each in (state.noise, state.latents))
        if latent.any():  # `process` scales it anew
            latent = patcher.get_model_object("latent_format").process_out(latent)
        mask = self.denoise_mask
        if mask is not None:
            mask = spaces.framed(patcher, state.mask_of(index, mask))
        return self._replace(noise=noise, latent_image=latent, denoise_mask=mask, latent_shapes=[noise.shape])


class Workers(AskedWorkers, Protocol):
    """The workers of a run's experts, from its announcement until they forget it."""

    def begin(self, inputs: RunInputs, forms: Forms) -> None:
        """Announce the run to them, before they are asked.

        Args:
            inputs: What ComfyUI gives the run.
            forms: The forms of MODELs in this run.

        Raises:
            ValueError: If one refuses.
        """

    def close(self) -> None:
        """Let them forget the run."""
