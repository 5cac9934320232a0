"""One noise level for experts whose MODELs have different forms of x (the paper's §7.2).

ComfyUI steps most models in the variance-exploding form x0 + σ·n, rectified-flow models (CONST) in (1 − σ)·x0 + k·σ·n,
with k = 1 for all but a few.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_sampling
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.diffusion.schedule import align_noise_level, from_flow, to_flow
from ....mcdm_core.product.evaluation import NoiseLevel

FLOW_LIMIT = 1.0 - 1e-6  # at σ = 1 a flow's x holds no signal and its level is infinite in the other form


def is_flow(model_sampling: Any) -> bool:
    """Whether a model's samples are stepped in the rectified-flow form."""
    return isinstance(model_sampling, comfy.model_sampling.CONST)


def starts_from_pictures(model_sampling: Any) -> bool:
    """Whether a model's run starts from a picture without any noise, as FlowRVS's does; it has no noise levels."""
    return isinstance(model_sampling, comfy.model_sampling.IMG_TO_IMG_FLOW)


def on_host(model_sampling: Any) -> Any:
    """A MODEL's schedule for many questions at once, each of which would wait for the device that it is on.

    Args:
        model_sampling: The MODEL's.

    Returns:
        A copy, but for the object itself where it has no buffers on a device, or more than buffers.
    """
    held = vars(model_sampling)
    buffers = {name: buffer for name, buffer in held.get("_buffers", {}).items() if buffer is not None}
    if held.get("_modules") or held.get("_parameters") or all(buffer.is_cpu for buffer in buffers.values()):
        return model_sampling
    copied = copy.copy(model_sampling)
    vars(copied)["_buffers"] = {name: buffer.cpu() for name, buffer in buffers.items()}
    return copied


@dataclass(frozen=True)
class Form:
    """A MODEL's form of x at a noise level σ, and the range of its schedule.

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

    def unbounded(self, sigma: float) -> float:
        """σ in the variance-exploding form, x0 + σ·n; of a flow, one near infinity at σ = 1."""
        return from_flow(min(sigma, FLOW_LIMIT), self.noise_scale) if self.flow else sigma


FormOf = Callable[[ModelPatcher], Form]
"""Gives the form of a MODEL in a run, found once."""


def form_of(model_sampling: Any, shape: Sequence[int]) -> Form:
    """The form of a MODEL; waits for the device that its schedule is on.

    Args:
        model_sampling: The MODEL's.
        shape: The shape of a run's x, (B, C, …), on which k depends in some families.
    """
    flow = is_flow(model_sampling)
    scale = _noise_scale(model_sampling, shape) if flow and not starts_from_pictures(model_sampling) else 1.0
    return Form(flow, scale, float(model_sampling.sigma_min), float(model_sampling.sigma_max))


def _noise_scale(model_sampling: Any, shape: Sequence[int]) -> float:
    """The k of a flow: its x for a noise of 1 and an x0 of 0 at σ = 1, where a run starts."""
    sigma = torch.ones((), dtype=torch.float64)
    noise, nothing = (sigma.new_full((1, *shape[1:]), value) for value in (1.0, 0.0))
    return float(model_sampling.noise_scaling(sigma, noise, nothing, False).flatten()[0])


def align(
    x: Tensor, sigma: Tensor, level: NoiseLevel, reference: Form, expert: Form, kappa: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Convert a sample of the reference's run to another expert's form, at the nearest noise level that this one has.

    If both have the same form and range of levels, that is the sample itself at any σ, because ComfyUI too calls a
    network beyond its schedule. Else its level is σ_i = clamp(σ/α, σ_min, σ_max), see `align_noise_level`.

    Args:
        x: Sample in the reference's form, shape (B, …).
        sigma: The reference's σ, equal entries, shape (B,).
        level: The same as a number, which is read only where forms differ.
        reference: Form of the reference expert.
        expert: Form of the expert to be asked.
        kappa: κ of a part of a joint sample, by which its signal and noise are multiplied; 1 of others.

    Returns:
        x and σ in the expert's form; the arguments themselves if nothing has to change.
    """
    if kappa == 1 and _same_point(level, reference, expert):
        return x, sigma
    return _convert(x if kappa == 1 else kappa * x, sigma, reference, expert, kappa)


def align_levels(sigmas: Tensor, reference: Form, expert: Form, kappa: float = 1.0) -> Tensor:
    """Noise levels of a run, shape (S,), in another expert's form; 0 stays 0. See `align` for κ."""
    aligned = sigmas.clone()  # bit for bit the levels that `align` gives, because networks look theirs up in here
    numbers = enumerate(sigmas.tolist())
    moved = [
        i for i, each in numbers if each > 0 and (kappa != 1 or not _same_point(NoiseLevel(each), reference, expert))
    ]
    if moved:
        _, aligned[moved] = _convert(sigmas.new_zeros(len(moved), 1), sigmas[moved], reference, expert, kappa)
    return aligned


def from_unbounded(x: Tensor, sigma: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """Convert x0 + σ·n to a MODEL's form, each row at the nearest noise level that it has.

    Args:
        x: Samples, shape (B, …).
        sigma: σ of each row, shape (B,).
        form: The MODEL's form.
    """
    return _convert(x, sigma, Form(False, 1.0, 0.0, math.inf), form, 1.0)


def _same_point(level: NoiseLevel, reference: Form, expert: Form) -> bool:
    """Whether the expert is asked about the reference's sample as it is."""
    alike = (reference.flow, reference.noise_scale) == (expert.flow, expert.noise_scale)
    return reference == expert or (alike and expert.sigma_min <= level.number <= expert.sigma_max)


def _convert(x: Tensor, sigma: Tensor, reference: Form, expert: Form, kappa: float) -> tuple[Tensor, Tensor]:
    """A sample and its σ in the expert's form at its nearest level, by way of the variance-exploding form."""
    low, high = expert.unbounded(expert.sigma_min), expert.unbounded(expert.sigma_max)
    rows = sigma.reshape(-1, *[1] * (x.ndim - 1))
    alpha = 1.0 - rows if reference.flow else torch.ones_like(rows)
    aligned, level = align_noise_level(x, kappa * reference.noise_scale * rows, low, high, alpha)
    if expert.flow:
        aligned, level = to_flow(aligned, level, expert.noise_scale)
    return aligned.to(x.dtype), level.reshape(sigma.shape).to(sigma.dtype)
