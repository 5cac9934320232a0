"""A SAMPLER that steps the samples of several latent spaces as one, around ComfyUI's for the reference's alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.evaluation import NoiseLevel
from ....mcdm_core.product.spaces import resized
from ..comfyui.latents import unframed
from .run_spaces import SpacesOfRun
from .scaled_noise import Drawn


class JointSample:
    """The samples of a run in every latent space.

    Args:
        spaces: The spaces.
        drawn: What the reference's start noise was made of.
        noise: The reference's start noise, shape (B, C, H, W).
        latent: The reference's clean sample as its network sees it, of the same shape; zeros for none.

    Attributes:
        spaces: The spaces.
        noise: Start noise of every space, y_s of σ = 1, in the order of the spaces.
        latents: The clean samples that the run starts from, likewise, not divided by κ_s.
        parts: The parts of the joint sample in the last call of the sampler; none before the first.
    """

    def __init__(self, spaces: SpacesOfRun, drawn: Drawn, noise: Tensor, latent: Tensor):
        self.spaces = spaces
        self.parts: list[Tensor] = []
        self._drawn = drawn
        self.noise = self._draw(noise)
        others = range(1, len(spaces.joint.spaces))
        is_empty = torch.count_nonzero(latent) == 0
        clean = {} if is_empty else spaces.joint.from_reference(latent, others)
        self.latents = [latent, *(torch.zeros_like(self.noise[p]) if is_empty else clean[p] for p in others)]

    def noise_with(self, noise: Tensor) -> list[Tensor]:
        """Start noise of every space, with that of the reference, which wrappers around a SAMPLER may have changed."""
        if not torch.equal(noise, self.noise[0]):
            self._drawn = self._drawn._replace(standard=noise)
            self.noise = self._draw(noise)
        return self.noise

    def _draw(self, noise: Tensor) -> list[Tensor]:
        joint, standard = self.spaces.joint, unframed(self._drawn.standard).to(noise)
        others = (joint.noise_of(space, standard) for space in range(1, len(joint.spaces)))
        return [noise, *(self._drawn.scale * other for other in others)]

    def start_of(
        self, patcher: ModelPatcher, noise: Tensor, latent_image: Tensor, settings: dict[str, Any]
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """What an expert's conditioning is processed with, in the shape of its MODEL's samples.

        Args:
            patcher: The MODEL.
            noise: The reference's start noise.
            latent_image: The latent that came in.
            settings: Further arguments of `process`.

        Returns:
            The three arguments for this MODEL, the same ones for the reference's space.
        """
        place = self.spaces.place_of(patcher)
        if place == 0:
            return noise, latent_image, settings
        noise, latent = (self.spaces.framed(patcher, each[place]) for each in (self.noise, self.latents))
        if latent.any():  # `process` scales it anew
            latent = patcher.get_model_object("latent_format").process_out(latent)
        own = dict(settings)
        if own.get("denoise_mask") is not None:
            own["denoise_mask"] = self.spaces.framed(patcher, self.mask_of(place, own["denoise_mask"]))
        own["latent_shapes"] = [noise.shape]
        return noise, latent, own

    def mask_of(self, place: int, mask: Tensor) -> Tensor:
        """The run's noise mask (B, C, H, W) in the shape of a space's samples."""
        size = self.spaces.joint.spaces[place].size
        return resized(unframed(mask)[:, :1].float(), size).to(mask).expand(self.noise[place].shape)


class _Around:
    """Has the attributes of another object, but for those that it has itself."""

    def __init__(self, inside: Any):
        self._inside = inside

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
        sample: The samples of the run.
        ahead: Gives the other spaces that have to be stepped from a noise level on, see `spaces_ahead`.
        noise_scale: By which start noise is multiplied, because the sampler takes a joint sample for one of the
            reference's, and some flows scale noise by the size of samples.
    """

    def __init__(
        self, sampler: Any, sample: JointSample, ahead: Callable[[NoiseLevel], list[int]], noise_scale: float = 1.0
    ):
        super().__init__(sampler)
        self._sample = sample
        self._ahead = ahead
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
        """As the SAMPLER's, of the reference's samples alone."""
        held, joint = self._sample, self._sample.spaces.joint
        latents = [*held.latents]
        noises = held.noise_with(unframed(noise))
        if latent_image is not None:
            latents[0] = unframed(latent_image).to(noise)
        divided = [latent / scale for latent, scale in zip(latents, joint.scales, strict=True)]
        mask = denoise_mask
        if mask is not None:
            mask = joint.pack([held.mask_of(place, mask) for place in range(len(joint.spaces))])

        def report(step: int, denoised: Tensor, x: Tensor, total: int) -> None:
            if callback is not None:
                callback(step, self._reference(denoised, noise), self._reference(x, noise), total)

        model = JointModel(model_wrap, held, self._ahead, noise.ndim)
        start = self._noise_scale * joint.pack(noises)
        made = self._inside.sample(model, sigmas, extra_args, report, start, joint.pack(divided), mask, disable_pbar)
        return self._reference(made, noise)

    def _reference(self, packed: Tensor, like: Tensor) -> Tensor:
        return self._sample.spaces.joint.unpack(packed)[0].reshape(like.shape)


class JointModel(_Around):
    """What a sampler asks: x0 of all parts, by way of the guider, which sees the reference's part.

    Args:
        guider: The guider, whose attributes this has, too.
        sample: The samples of the run.
        ahead: See `JointSampler`.
        ndim: Number of dimensions of the reference's samples.
    """

    def __init__(self, guider: Any, sample: JointSample, ahead: Callable[[NoiseLevel], list[int]], ndim: int):
        super().__init__(guider)
        self._sample = sample
        self._ahead = ahead
        self._ndim = ndim

    def __call__(self, x: Tensor, sigma: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Predict x0/κ of all parts of a joint sample, shape (B, 1, N); other arguments are for the guider."""
        joint = self._sample.spaces.joint
        parts = joint.unpack(x)
        self._sample.parts[:] = parts
        own = parts[0].unsqueeze(2) if self._ndim == 5 else parts[0]
        combined = unframed(self._inside(own, sigma, *args, **kwargs))
        carried = joint.from_reference(combined, self._ahead(NoiseLevel(sigma)))
        return joint.pack(
            [combined, *(carried[p] / joint.scales[p] if p in carried else parts[p] for p in range(1, len(parts)))]
        )
