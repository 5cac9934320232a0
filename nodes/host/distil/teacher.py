"""The product as teacher: its own guider, run with a sampler that evaluates it along the core's trajectories."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import comfy.samplers
import numpy as np
import torch
from torch import Tensor

from ....mcdm_core.distil.product import quieted
from ....mcdm_core.distil.roles import Within
from ....mcdm_core.product.evaluation.forms import from_unbounded
from ..evaluation.model_forms import form_of
from ..run.guider import ProductGuider

_LOGGER = logging.getLogger(__package__.removesuffix(".nodes.host.distil"))  # the whole pack's


class GuidedTeacher:
    """The product as the core's `Teacher`; of several prompts it is run for one after the other.

    Args:
        guiders: The product of each prompt.
        sigmas: Noise levels of a run in the form of the reference expert, falling, shape (S + 1,).
        shape: Shape of a sample, (C, …).
        before: Is called before a run, which loads networks.

    Attributes:
        sigmas: The levels of that run as x0 + σ·n has them, and 0.
    """

    def __init__(
        self, guiders: Sequence[ProductGuider], sigmas: Tensor, shape: Sequence[int], before: Callable[[], None]
    ):
        self._guiders = guiders
        self._shape = tuple(shape)
        self._before = before
        self._is_heard = False
        model = guiders[0].experts[0].model
        self._form = form_of(model.get_model_object("model_sampling"), (1, *shape))
        self._logs = np.log([self._form.unbounded(sigma) for sigma in sigmas.tolist() if sigma > 0])
        self.sigmas: list[float] = [*np.exp(self._logs).tolist(), 0.0]

    def level(self, progress: float) -> float:
        """Noise level at a progress through the given levels: log σ is interpolated between them."""
        return float(np.exp(np.interp(progress * (len(self._logs) - 1), np.arange(len(self._logs)), self._logs)))

    def __call__(self, prompts: Tensor, sigmas: Sequence[float], within: Within) -> None:
        """Do `within` once for each of the prompts, in a run of that prompt's guider; a `Teacher`.

        Raises:
            ValueError: The experts of a prompt can't be combined.
        """
        self._before()
        levels = self._levels(sigmas)
        with torch.inference_mode(), quieted(_LOGGER, self._is_heard):
            for prompt in prompts.unique().tolist():
                rows = (prompts == prompt).nonzero()[:, 0].cpu()
                noise = torch.zeros(len(rows), *self._shape)
                sampler = _EvaluatingSampler(within, rows, self._to_reference, sigmas)
                self._guiders[prompt].sample(noise, noise, sampler, levels, disable_pbar=True, seed=0)
        self._is_heard = True

    def check(self) -> None:
        """Refuse products that can't be run, before anything is loaded.

        Raises:
            ValueError: One can't.
        """
        noise = torch.zeros(1, *self._shape)
        for guider in self._guiders:
            guider.check_run(noise, self._levels([self.level(0.0), self.level(1.0), 0.0]))

    def _levels(self, sigmas: Sequence[float]) -> Tensor:
        """The levels in the reference's form, as ComfyUI's schedulers give them."""
        positive = torch.tensor(sigmas[:-1])
        _, levels = self._to_reference(positive.new_zeros(len(positive), 1), positive)
        return torch.cat([levels, levels.new_zeros(1)])

    def _to_reference(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return from_unbounded(x, sigma, self._form)


class _EvaluatingSampler(comfy.samplers.Sampler):
    """Lets a function evaluate the model of a run, and samples nothing.

    Args:
        within: Is given the model as a denoiser of x0 + σ·n, and the rows.
        rows: The rows of the samples that the run is for.
        to_model: Converts that to the model's own form.
        sigmas: The levels at which it may be evaluated, and 0.
    """

    def __init__(
        self, within: Within, rows: Tensor, to_model: Callable[..., tuple[Tensor, Tensor]], sigmas: Sequence[float]
    ):
        self._within = within
        self._rows = rows
        self._to_model = to_model
        self._sigmas = sigmas

    def sample(
        self, model_wrap: Any, sigmas: Tensor, extra_args: dict, callback: Any, noise: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Give the model of the run to `within`, and return the noise, since nothing is sampled."""
        known = dict(zip(self._sigmas, sigmas, strict=True))  # networks and methods look levels up in those of the run

        def denoise(x: Tensor, sigma: Tensor | float) -> Tensor:
            level = torch.full((len(x),), float(sigma), dtype=x.dtype, device=x.device)
            point, _ = self._to_model(x, level)
            own = known[float(sigma)].to(noise).expand(len(x))
            x0: Tensor = model_wrap(point.to(noise), own, **extra_args)
            return x0.to(x.device)

        self._within(denoise, self._rows)
        return noise
