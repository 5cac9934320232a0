"""The state of a run in every latent space of its experts, and a SAMPLER around ComfyUI's that steps them as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import comfy.sample
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ....mcdm_core.product.evaluation.evaluation import NoiseLevel
from ....mcdm_core.product.spaces import resized
from ..comfyui.latents import parts_of, without_time_axis
from .run_spaces import RunSpaces


class Drawn(NamedTuple):
    """What start noise was made of.

    Attributes:
        standard: Standard normal noise.
        temperature: The factor that it was multiplied by.
    """

    standard: Tensor
    temperature: float


_DRAWN = WeakTensorKeyDictionary()  # by the start noise: a guider is given a tensor, and no NOISE


def drawn_of(noise: Tensor) -> Drawn:
    """What start noise was made of; noise of other nodes counts as standard normal."""
    return _DRAWN.get(noise, Drawn(noise, 1.0))


class ScaledNoise(NamedTuple):
    """A NOISE: standard normal noise times a factor.

    Attributes:
        seed: Seed, from which ComfyUI's KSampler would draw the same noise.
        temperature: Factor; 1 is ComfyUI's RandomNoise.
    """

    seed: int
    temperature: float

    def generate_noise(self, input_latent: dict[str, Any]) -> Tensor:
        """Noise of the shape of a LATENT, on the CPU."""
        standard = comfy.sample.prepare_noise(input_latent["samples"], self.seed, input_latent.get("batch_index"))
        noise = self.temperature * standard
        _DRAWN[parts_of(noise)[0]] = Drawn(parts_of(standard)[0], self.temperature)
        return noise


class JointState:
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


class _Around:
    """Around a sampler or guider of several spaces: has its attributes, but for those that it has itself.

    Args:
        inside: The other object.
        state: The state of the run.
        ahead: Gives the other spaces that have to be stepped from a noise level on, see `spaces_ahead`.
    """

    def __init__(self, inside: Any, state: JointState, ahead: Callable[[NoiseLevel], list[int]]):
        self._inside = inside
        self._state = state
        self._ahead = ahead

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inside, name)


class JointSampler(_Around):
    """ComfyUI's SAMPLER for a guider of several spaces.

    The sampler that it is given steps y_s of all spaces, packed, see `JointSpaces`; the guider, its hooks and its
    callbacks see the reference's sample alone.

    Args:
        sampler: ComfyUI's SAMPLER.
        state: The state of the run.
        ahead: Gives the other spaces that have to be stepped from a noise level on, see `spaces_ahead`.
        noise_scale: The factor by which start noise is multiplied, because the sampler takes a joint sample for one of
            the reference's, and some flows scale noise by the size of samples.
    """

    def __init__(self, sampler: Any, state: JointState, ahead: Callable[[NoiseLevel], list[int]], noise_scale: float):
        super().__init__(sampler, state, ahead)
        self._noise_scale = noise_scale

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Callable | None,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """The reference's samples alone, from the arguments of ComfyUI's SAMPLER."""
        state, joint = self._state, self._state.spaces.joint
        latents = [*state.latents]
        noises = state.noise_with(without_time_axis(noise))
        if latent_image is not None:
            latents[0] = without_time_axis(latent_image).to(noise)
        divided = [latent / kappa for latent, kappa in zip(latents, joint.kappas, strict=True)]
        mask = denoise_mask
        if mask is not None:
            mask = joint.pack([state.mask_of(index, mask) for index in range(len(joint.spaces))])

        def report(step: int, denoised: Tensor, x: Tensor, total: int) -> None:
            if callback is not None:
                callback(step, self._reference_part(denoised), self._reference_part(x), total)

        guider = JointGuider(model_wrap, state, self._ahead)
        packed = self._noise_scale * joint.pack(noises)
        made = self._inside.sample(guider, sigmas, extra_args, report, packed, joint.pack(divided), mask, disable_pbar)
        return self._reference_part(made)

    def _reference_part(self, packed: Tensor) -> Tensor:
        spaces = self._state.spaces
        return spaces.framed(spaces.firsts[0].model, spaces.joint.unpack(packed)[0])


class JointGuider(_Around):
    """What a sampler calls: x0 of all parts, by way of the guider, which sees the reference's part.

    Args:
        guider: The guider, whose attributes this has, too.
    """

    def __call__(self, x: Tensor, sigma: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Predict x0/κ of all parts of a joint sample, shape (B, 1, N); other arguments are for the guider."""
        spaces, joint = self._state.spaces, self._state.spaces.joint
        parts = joint.unpack(x)
        self._state.parts[:] = parts
        own = spaces.framed(spaces.firsts[0].model, parts[0])
        combined = without_time_axis(self._inside(own, sigma, *args, **kwargs))
        carried = joint.from_reference(combined, self._ahead(NoiseLevel(sigma)))
        return joint.pack(
            [combined, *(carried[i] / joint.kappas[i] if i in carried else parts[i] for i in range(1, len(parts)))]
        )
