"""One noise level for experts whose MODELs write x differently (the paper's §7.2).

ComfyUI steps most models in the variance-exploding form x0 + σ·n, rectified-flow models (CONST) in (1 − σ)·x0 + k·σ·n,
with k = 1 for all but a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_sampling
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.diffusion.schedule import align_noise_level, from_flow, to_flow

FLOW_LIMIT = 1.0 - 1e-6  # at σ = 1 a flow's x holds no signal and its level is infinite in the other form


def is_flow(model_sampling: Any) -> bool:
    """Whether a model's samples are stepped in the rectified-flow form."""
    return isinstance(model_sampling, comfy.model_sampling.CONST)


def starts_from_pictures(model_sampling: Any) -> bool:
    """Whether a model's run starts from a picture and mixes no noise into it, as FlowRVS's; it has no noise levels."""
    kind = getattr(comfy.model_sampling, "IMG_TO_IMG_FLOW", None)
    return kind is not None and isinstance(model_sampling, kind)


@dataclass(frozen=True)
class Form:
    """How a MODEL writes x at a noise level σ, and the levels that its schedule reaches.

    Attributes:
        flow: Whether x is (1 − σ)·x0 + k·σ·n; else it is x0 + σ·n.
        noise_scale: k; 1 where x is x0 + σ·n.
        sigma_min: The lowest level of the schedule.
        sigma_max: The highest.
    """

    flow: bool
    noise_scale: float
    sigma_min: float
    sigma_max: float

    def signal_scale(self, sigma: float) -> float:
        """α, what x0 is multiplied by."""
        return 1.0 - sigma if self.flow else 1.0

    def unbounded(self, sigma: float) -> float:
        """σ in the variance-exploding form, x0 + σ·n; of a flow, one near infinity at σ = 1."""
        return from_flow(min(sigma, FLOW_LIMIT), self.noise_scale) if self.flow else sigma


def form_of(model_sampling: Any, shape: Sequence[int]) -> Form:
    """The form of a MODEL; this waits for the device that the schedule is on.

    Args:
        model_sampling: The MODEL's.
        shape: Of a run's x, (B, C, …), on which k depends in some families.
    """
    flow = is_flow(model_sampling)
    scale = _noise_scale(model_sampling, shape) if flow and not starts_from_pictures(model_sampling) else 1.0
    return Form(flow, scale, float(model_sampling.sigma_min), float(model_sampling.sigma_max))


def _noise_scale(model_sampling: Any, shape: Sequence[int]) -> float:
    """What a flow makes of noise 1 and nothing else at σ = 1, where a run starts: k."""
    sigma = torch.ones((), dtype=torch.float64)
    noise, nothing = (sigma.new_full((1, *shape[1:]), value) for value in (1.0, 0.0))
    return float(model_sampling.noise_scaling(sigma, noise, nothing, False).flatten()[0])


class Forms:
    """The forms of a run's MODELs, each found once.

    Args:
        shape: Of the run's x, (B, C, …).
    """

    def __init__(self, shape: Sequence[int]):
        self._shape = shape
        self._found: dict[ModelPatcher, Form] = {}

    def of(self, patcher: ModelPatcher) -> Form:
        """The form of a MODEL."""
        if patcher not in self._found:
            self._found[patcher] = form_of(patcher.get_model_object("model_sampling"), self._shape)
        return self._found[patcher]


def align(x: Tensor, sigma: Tensor, level: float, reference: Form, expert: Form) -> tuple[Tensor, Tensor]:
    """Carry a point of the reference's trajectory to where another expert can be asked about it.

    Where both write x alike and their schedules end at the same levels, that is the point itself at any σ, as ComfyUI
    asks one network beyond its schedule too. Else it is at σ_i = clamp(σ/α, σ_min, σ_max), the nearest level that the
    expert has, see `align_noise_level`.

    Args:
        x: Point in the reference's form, shape (B, …).
        sigma: The reference's σ, equal entries, shape (B,).
        level: The same as a number; to look at the tensor would be to wait for its device.
        reference: Form of the reference expert.
        expert: Form of the expert to be asked.

    Returns:
        x and σ in the expert's form; the arguments themselves where nothing has to change.
    """
    return (x, sigma) if _same_point(level, reference, expert) else _carry(x, sigma, reference, expert)


def align_levels(sigmas: Tensor, reference: Form, expert: Form) -> Tensor:
    """Noise levels of a run, shape (S,), as another expert meets them; 0 stays 0."""
    aligned = sigmas.clone()  # to the bit what `align` gives: networks look for their own level
    levels = enumerate(sigmas.tolist())
    moved = [i for i, level in levels if level > 0 and not _same_point(level, reference, expert)]
    if moved:
        _, aligned[moved] = _carry(sigmas.new_zeros(len(moved), 1), sigmas[moved], reference, expert)
    return aligned


def _same_point(sigma: float, reference: Form, expert: Form) -> bool:
    """Whether the expert is asked about a point of the reference's as it stands."""
    alike = (reference.flow, reference.noise_scale) == (expert.flow, expert.noise_scale)
    return reference == expert or (alike and expert.sigma_min <= sigma <= expert.sigma_max)


def _carry(x: Tensor, sigma: Tensor, reference: Form, expert: Form) -> tuple[Tensor, Tensor]:
    """A point and its σ, through the variance-exploding form, at the expert's nearest level and in its form."""
    low, high = expert.unbounded(expert.sigma_min), expert.unbounded(expert.sigma_max)
    rows = sigma.reshape(-1, *[1] * (x.ndim - 1))
    alpha = 1.0 - rows if reference.flow else torch.ones_like(rows)
    aligned, level = align_noise_level(x, reference.noise_scale * rows, low, high, alpha)
    if expert.flow:
        aligned, level = to_flow(aligned, level, expert.noise_scale)
    return aligned.to(x.dtype), level.reshape(sigma.shape).to(sigma.dtype)


def same_space(first: Any, second: Any) -> bool:
    """Whether two latent formats mean the same by the same numbers."""
    if first.latent_channels != second.latent_channels or first.latent_dimensions != second.latent_dimensions:
        return False
    if getattr(first, "vae_key", None) != getattr(second, "vae_key", None):
        return False  # latents of VAEs of this pack are none of another's, though all are used as they are
    probe = torch.linspace(-1.0, 1.0, first.latent_channels).reshape(1, -1, *[1] * (first.latent_dimensions))
    return torch.allclose(first.process_in(probe), second.process_in(probe), rtol=1e-4)
