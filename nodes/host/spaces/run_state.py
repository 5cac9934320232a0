"""The state of a run in every latent space of its experts; most runs have one."""

from __future__ import annotations

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.spaces import resized
from ..comfyui.latents import without_time_axis
from ..comfyui.start_noise import Drawn
from .run_spaces import RunSpaces


class RunState:
    """The state of a run in every latent space: start noise, latents, x; in one space, ComfyUI's are all there is.

    Args:
        spaces: The spaces.
        drawn: What the reference's start noise was made of.
        noise: The reference's start noise, shape (B, C, …); of several spaces a picture's, (B, C, H, W).
        latent: The reference's clean sample as its network sees it, of the same shape; zeros for none.

    Attributes:
        noise: Start noise of every space, y_s of σ = 1, in the order of the spaces.
        latents: The clean samples that the run starts from, likewise, not divided by κ_s.
        parts: x of every space in the last call of the sampler, the parts of a joint sample; none before the first.
    """

    def __init__(self, spaces: RunSpaces, drawn: Drawn, noise: Tensor, latent: Tensor):
        self.spaces = spaces
        self.parts: list[Tensor] = []
        self._drawn = drawn
        self.noise = self._draw(noise)
        self.latents = [latent, *self._carried(latent)]

    def noise_with(self, noise: Tensor) -> list[Tensor]:
        """Start noise of every space, with that of the reference, which wrappers around a SAMPLER may have changed."""
        if not torch.equal(noise, self.noise[0]):
            self._drawn = self._drawn._replace(standard=noise)
            self.noise = self._draw(noise)
        return self.noise

    def _draw(self, noise: Tensor) -> list[Tensor]:
        """Start noise of every space, with that of the reference."""
        temperature, standard = self._drawn.temperature, without_time_axis(self._drawn.standard)
        others = (self.spaces.joint.noise_of(index, standard.to(noise)) for index in self.spaces.others)
        return [noise, *(temperature * other for other in others)]

    def _carried(self, latent: Tensor) -> list[Tensor]:
        """The reference's clean sample in the other spaces; zeros for none."""
        if not self.spaces.are_several:
            return []
        if torch.count_nonzero(latent) == 0:
            return [torch.zeros_like(noise) for noise in self.noise[1:]]
        carried = self.spaces.joint.from_reference(latent, self.spaces.others)
        return [carried[index] for index in self.spaces.others]

    def part_of(self, patcher: ModelPatcher, x: Tensor) -> Tensor:
        """The sample that a MODEL is asked about, y_s of its space as it takes it.

        Args:
            patcher: The MODEL.
            x: The reference's, which is that of all MODELs of its space.
        """
        index = self.spaces.index_of(patcher)
        return self.spaces.framed(patcher, self.parts[index]) if index else x

    def mask_of(self, index: int, mask: Tensor) -> Tensor:
        """The run's noise mask (B, C, H, W) in the shape of a space's samples."""
        size = self.spaces.joint.spaces[index].size
        return resized(without_time_axis(mask)[:, :1].float(), size).to(mask).expand(self.noise[index].shape)
