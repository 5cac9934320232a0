"""A SAMPLER around ComfyUI's that steps the samples of a run's several latent spaces as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ....mcdm_core.product.evaluation.evaluation import NoiseLevel
from ..comfyui.latents import without_time_axis
from .run_state import RunState


class _Around:
    """Around a sampler or guider of several spaces: has its attributes, but for those that it has itself.

    Args:
        inside: The other object.
        state: The state of the run.
        ahead: Gives the other spaces that have to be stepped from a noise level on, see `spaces_ahead`.
    """

    def __init__(self, inside: Any, state: RunState, ahead: Callable[[NoiseLevel], list[int]]):
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
        sampler, state, ahead: ComfyUI's SAMPLER, and the rest, as of `_Around`.
        noise_scale: The factor by which start noise is multiplied, because the sampler takes a joint sample for one of
            the reference's, and some flows scale noise by the size of samples.
    """

    def __init__(self, sampler: Any, state: RunState, ahead: Callable[[NoiseLevel], list[int]], noise_scale: float):
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
        noises = state.noise_with(without_time_axis(noise))
        own = state.latents[0] if latent_image is None else without_time_axis(latent_image).to(noise)
        divided = [latent / kappa for latent, kappa in zip([own, *state.latents[1:]], joint.kappas, strict=True)]
        indices = range(len(joint.spaces))
        mask = None if denoise_mask is None else joint.pack([state.mask_of(i, denoise_mask) for i in indices])

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
    """What a sampler calls: x0 of all parts, by way of the guider inside, which sees the reference's part."""

    def __call__(self, x: Tensor, sigma: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Predict x0/κ of all parts of a joint sample, shape (B, 1, N); other arguments are for the guider."""
        spaces, joint = self._state.spaces, self._state.spaces.joint
        parts = joint.unpack(x)
        self._state.parts[:] = parts
        own = spaces.framed(spaces.firsts[0].model, parts[0])
        combined = without_time_axis(self._inside(own, sigma, *args, **kwargs))
        carried = joint.from_reference(combined, self._ahead(NoiseLevel(sigma)))
        others = (carried[i] / joint.kappas[i] if i in carried else parts[i] for i in range(1, len(parts)))
        return joint.pack([combined, *others])
